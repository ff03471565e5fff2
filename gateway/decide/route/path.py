"""The one form of a path that is matched, guarded, cached and sent: RFC 3986 6.2.2 without merging slashes.

Dot segments are removed (also `%2e`), escapes of unreserved characters are decoded once, other escapes are kept
with upper-case hex, and `//` stays an empty segment. What servers behind a proxy read in two ways is refused:
`%2f`, `%5c`, `%00`, a backslash, a fragment, an escape that is none, and `..;` (Tomcat drops path parameters
before it walks up).
"""

import re
from typing import Final

_PLAIN: Final = re.compile(r"/[!-\"$&-/0->@-\[\]-~]*").fullmatch
"""Printable ASCII without `#`, `%`, `?` and the backslash: nothing to decode and nothing to refuse."""

_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
_PARAMETER_AFTER_DOTS: Final = re.compile(r"/\.{1,2}(?:;|%3B)")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_REFUSED_ESCAPES: Final = {0x00: "a NUL", 0x2F: "an encoded slash", 0x5C: "an encoded backslash"}
_REFUSED: Final = {"\\": "a backslash", "#": "a fragment", "?": "a question mark"}


class PathError(ValueError):
    """A path that has no one meaning; the answer is 400."""


def normalise_path(raw: str) -> str:
    """`raw` (without the query) in normal form; normalising twice changes nothing. Linear in its length."""
    if _PLAIN(raw) and "/." not in raw:
        return raw
    _refuse_characters(raw)
    path = _ESCAPE.sub(_decode, raw) if "%" in raw else raw
    if "/." not in path:
        return path
    if _PARAMETER_AFTER_DOTS.search(path):
        raise PathError("the path has a dot segment with a parameter")
    return _without_dots(path)


def _refuse_characters(raw: str) -> None:
    if not raw.startswith("/"):
        raise PathError("the path does not begin with /")
    if _PLAIN(raw.replace("%", "")):
        return
    for mark, name in _REFUSED.items():
        if mark in raw:
            raise PathError(f"the path has {name}")
    raise PathError("the path has a character that must be escaped")


def _decode(escape: re.Match[str]) -> str:
    digits = escape[1]
    if digits is None:
        raise PathError("the path has an escape that is not % and two hex digits")
    code = int(digits, 16)
    if code in _REFUSED_ESCAPES:
        raise PathError(f"the path has {_REFUSED_ESCAPES[code]}")
    character = chr(code)
    return character if character in _UNRESERVED else "%" + digits.upper()


def _without_dots(path: str) -> str:
    """RFC 3986 5.2.4; `..` above the root stays at the root."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
