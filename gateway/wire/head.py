"""Heads of HTTP/1.x messages by grammar: one anchored, linear regular expression, then split into lines."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Counted on raw bytes before anything is parsed. `underscores`: drop | allow (names with `_`)."""

    line_bytes: int = 8 * 1024
    headers_bytes: int = 32 * 1024
    header_count: int = 100
    underscores: str = "drop"
