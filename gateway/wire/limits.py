"""Limits of a head."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Counted on raw bytes before anything is parsed. `underscores`: drop | allow (names with `_`)."""

    line_bytes: int = 8 * 1024
    headers_bytes: int = 32 * 1024
    header_count: int = 100
    underscores: str = "drop"
