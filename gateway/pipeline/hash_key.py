"""What consistent_hash hashes on: the client's address, the path, a header or a cookie."""

from collections.abc import Callable, Sequence

from gateway.pipeline.route import Call


def hash_key(hash_on: Sequence[str]) -> Callable[[Call], str] | None:
    """The key of a request for upstreams that hash on `hash_on`; None where none of them hashes.

    A request without the header or the cookie goes by the client's address.
    """
    wanted = next((each for each in hash_on if each), "")
    if not wanted:
        return None
    kind, _, name = wanted.partition(":")
    if kind == "path":
        return lambda call: call.normal_path
    if kind == "header":
        return lambda call: call.head.fields.get(name.lower()) or call.client_ip
    if kind == "cookie":
        return lambda call: _cookie(call.head.fields.get("cookie") or "", name) or call.client_ip
    return lambda call: call.client_ip


def _cookie(header: str, name: str) -> str:
    """The value of one cookie; the first where it stands twice."""
    for pair in header.replace(",", ";").split(";"):
        key, mark, value = pair.strip(" \t").partition("=")
        if mark and key == name:
            return value
    return ""
