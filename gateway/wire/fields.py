"""The field section of a head: validated as a whole, then split into lines.

An ordinary section is checked by two calls into C; what is not plain goes to one anchored, linear expression.

Rules (RFC 9112 section 5, RFC 9110 section 5.5), each a way a peer could make two parsers disagree:
- every line ends in CRLF; no bare CR or LF, no NUL, no other control byte except tab, no DEL;
- no white space before the colon, no folded lines, no line without a colon, names are tokens;
- limits count raw bytes, before anything is split.

What comes out is shared by all messages whose field section is the same to the byte, so it is never changed.
"""

import re
from functools import lru_cache
from typing import Final

from gateway.core.errors import GatewayError
from gateway.wire.limits import HeadLimits
from gateway.wire.names import NAMES, TOKEN, field_name

_SECTION: Final = re.compile(rf"(?:{TOKEN}:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n")
_LINE: Final = re.compile(rf"{TOKEN}:[\t\x20-\x7e\x80-\xff]*")
_CONTENT_LENGTH: Final = re.compile(r"[0-9]{1,19}")
_MAX_LENGTH: Final = 2**63 - 1

CHUNKED: Final = -1
"""Body length of a message in chunks."""
UNTIL_CLOSE: Final = -2
"""Body length of an answer that ends with its connection."""


class Fields:
    """Fields in order and case, and by lower-case name (repeated ones joined with a comma, RFC 9110 5.3)."""

    __slots__ = ("connection", "index", "lines")

    def __init__(self, section: str, limits: HeadLimits) -> None:
        """`section` ends in an empty line. Raises GatewayError (bad_request, headers_too_large)."""
        raw = _raw_lines(section, limits)
        keeps_underscores = limits.underscores != "drop"
        names = NAMES
        index: dict[str, str] = {}
        lines: list[tuple[str, str]] = []
        for line in raw:
            name, colon, value = line.partition(":")
            known = names.get(name) or field_name(name)
            if known is None or not colon:
                raise GatewayError("bad_request", _what_is_wrong(section))
            if known.has_underscore and not keeps_underscores:
                continue
            value = value.strip(" \t")
            lines.append((name, value))
            key = known.key
            index[key] = f"{index[key]}, {value}" if key in index else value
        self.lines = lines
        """(name as sent, value)"""
        self.index = index
        connection = index.get("connection")
        self.connection: frozenset[str] = token_set(connection) if connection else _NO_TOKENS
        """Lower-case tokens of Connection."""

    def get(self, key: str) -> str | None:
        """The value of the lower-case name `key`; repeated fields joined with a comma."""
        return self.index.get(key)

    def content_length(self) -> int | None:
        """None when absent. Raises GatewayError on anything but one decimal number (RFC 9112 6.3)."""
        value = self.index.get("content-length")
        if value is None:
            return None
        if _CONTENT_LENGTH.fullmatch(value) is None or int(value) > _MAX_LENGTH:
            raise GatewayError("bad_request", "Content-Length is not one decimal number")
        return int(value)


_NO_TOKENS: Final[frozenset[str]] = frozenset()


def _raw_lines(section: str, limits: HeadLimits) -> list[str]:
    """The lines of a section that is within its limits and has no byte that may not stand in a value."""
    if len(section) > limits.headers_bytes:
        raise GatewayError("headers_too_large", f"the header fields exceed {limits.headers_bytes} bytes")
    lines = section.split("\r\n")
    if lines[-1] or lines[-2]:
        raise GatewayError("bad_request", "the header section is malformed")
    del lines[-2:]
    if len(lines) > limits.header_count:
        raise GatewayError("headers_too_large", f"more than {limits.header_count} header fields")
    # Without its line ends an ordinary section is printable, which C decides at once; the grammar decides the others.
    if not "".join(lines).isprintable() and _SECTION.fullmatch(section) is None:
        raise GatewayError("bad_request", _what_is_wrong(section))
    if len(section) > limits.line_bytes and max(map(len, lines)) > limits.line_bytes:
        raise GatewayError("headers_too_large", f"a header line exceeds {limits.line_bytes} bytes")
    return lines


@lru_cache(maxsize=256)
def token_set(value: str) -> frozenset[str]:
    """The members of a Connection field."""
    return frozenset(tokens(value))


def tokens(value: str) -> list[str]:
    """The members of a comma-separated list, in lower case."""
    return [part for item in value.split(",") if (part := item.strip(" \t").lower())]


def _what_is_wrong(section: str) -> str:
    """The first fault of a section that the grammar refuses, for the person who sent it."""
    for line in section.split("\r\n"):
        if not line or _LINE.fullmatch(line):
            continue
        if line[0] in " \t":
            return "a header line begins with white space (folded lines are obsolete)"
        name, colon, _ = line.partition(":")
        if not colon:
            return "a header line has no colon"
        if not re.fullmatch(TOKEN, name):
            return "a header name is empty or has a character that is not allowed (white space before the colon?)"
        return "a header value has a control character"
    return "the header section is malformed"
