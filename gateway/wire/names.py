"""What is known of a field name, worked out once: names are few and repeat in every message."""

import re
from typing import Final

TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
"""RFC 9110 section 5.6.2."""
_IS_TOKEN: Final = re.compile(TOKEN)
_HOP_BY_HOP: Final = frozenset(
    "connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade"
    " http2-settings".split()
)
_REBUILT: Final = frozenset("forwarded x-real-ip x-request-id host expect x-request-timeout-ms max-forwards".split())
_REBUILT_PREFIXES: Final = ("x-forwarded-", "x-gateway-")
_REMEMBERED: Final = 1024
_LONGEST_REMEMBERED: Final = 64


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


NAMES: dict[str, FieldName] = {}
"""What is remembered; look here first, then ask `field_name`."""


def field_name(name: str) -> FieldName | None:
    """What is known of `name`; None where it is no token. The first thousand are remembered, more are only slower."""
    known = NAMES.get(name)
    if known is None:
        if _IS_TOKEN.fullmatch(name) is None:
            return None
        known = FieldName(name)
        if len(NAMES) < _REMEMBERED and len(name) <= _LONGEST_REMEMBERED:
            NAMES[name] = known
    return known
