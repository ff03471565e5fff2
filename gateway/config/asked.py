"""A request as a person writes it: `[METHOD] [scheme://][host]/path[?query]`."""

from collections.abc import Iterable

from gateway.decide.route.explain import Asked
from gateway.decide.route.match import parse_host, parse_method
from gateway.decide.route.path import normalise_path


def parse_request(line: str, headers: Iterable[tuple[str, str]] = ()) -> Asked:
    """The request as matching sees it. Raises ValueError that says what is wrong."""
    words = line.split()
    if not words or len(words) > 2:
        raise ValueError(f"a request is [METHOD] [http://][host]/path[?query]; found {line[:80]!r}")
    method = parse_method(words[0]) if len(words) == 2 else "GET"
    scheme, mark, rest = words[-1].partition("://")
    if mark and scheme not in ("http", "https"):
        raise ValueError(f"a request has http:// or https://; found {scheme[:20]!r}")
    target, _, query = (rest if mark else words[-1]).partition("?")
    authority, slash, path = target.partition("/")
    if not slash and not (mark and authority):
        raise ValueError(f"a request needs a path; perhaps {words[-1][:80]}/")
    fields: dict[str, str] = {}
    for name, value in headers:
        fields[name.lower()] = f"{fields[name.lower()]}, {value}" if name.lower() in fields else value
    host = host_name(authority or fields.get("host", ""))
    return Asked(method, host, normalise_path("/" + path), fields, query if "?" in words[-1] else None)


def host_name(authority: str) -> str:
    """Of a Host field: without its port, in lower case. Raises ValueError."""
    if authority.startswith("["):
        return authority.partition("]")[0].lower() + "]"
    name = authority.partition(":")[0]
    return parse_host(name) if name else ""
