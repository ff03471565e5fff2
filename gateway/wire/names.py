"""What is known of a field name, worked out once: names are few and repeat in every message."""

_HOP_BY_HOP = frozenset(
    "connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade"
    " http2-settings".split()
)
_REBUILT = frozenset("forwarded x-real-ip x-request-id host expect x-request-timeout-ms max-forwards".split())
_REBUILT_PREFIXES = ("x-forwarded-", "x-gateway-")
_REMEMBERED = 1024
_LONGEST_REMEMBERED = 64


class FieldName:
    """A field name: `key` is its lower case; `to_target` and `to_client` say whether it crosses the gateway at all."""

    __slots__ = ("has_underscore", "key", "to_client", "to_target")

    def __init__(self, name: str) -> None:
        key = name.lower()
        self.key = key
        self.has_underscore = "_" in name
        self.to_target = key not in _HOP_BY_HOP and key not in _REBUILT and not key.startswith(_REBUILT_PREFIXES)
        """Neither hop-by-hop (RFC 9110 7.6.1) nor written by the gateway itself."""
        self.to_client = key not in _HOP_BY_HOP and key != "x-request-id"


_known: dict[str, FieldName] = {}


def field_name(name: str) -> FieldName:
    """What is known of `name`. The first thousand are remembered; more are only slower."""
    known = _known.get(name)
    if known is None:
        known = FieldName(name)
        if len(_known) < _REMEMBERED and len(name) <= _LONGEST_REMEMBERED:
            _known[name] = known
    return known
