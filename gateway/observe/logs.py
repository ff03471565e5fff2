"""The gateway's own log, on standard error."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogSettings:
    level: str = "info"
    """debug | info | warning | error"""
    format: str = "text"
    """text | json"""
