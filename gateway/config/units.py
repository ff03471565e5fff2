"""Human units: `250ms`, `64KiB`, `20%`. A number without its unit is an error that shows the corrected value."""

import re
from typing import Any

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_QUANTITY = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,6})?|\.[0-9]{1,6})\s*([A-Za-z%]{0,12})\s*").fullmatch
_DURATION_WORDS = {
    **dict.fromkeys(("msec", "msecs", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
}
_LONGEST_S = 366 * 86400.0
"""A year. Longer is a slip of the unit, and `off` says forever where that is allowed."""
_LARGEST = 1024**5


class UnitError(ValueError):
    """A value that is not in human units; `fix` is the value to write instead (may be empty)."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


def parse_duration(value: Any) -> float:
    """`250ms`, `2s`, `1.5m`, `1h`, `1d` in seconds."""
    number, unit = _split(value, "a duration", "250ms, 2s or 1m")
    if unit not in _DURATION_UNITS:
        near = _DURATION_WORDS.get(unit.lower(), unit.lower())
        fix = f"{number}{near if near in _DURATION_UNITS else 's'}" if near in _DURATION_UNITS or not unit else ""
        raise UnitError(_unit_fault("a duration", unit, "ms, s, m, h or d"), fix)
    seconds = float(number) * _DURATION_UNITS[unit]
    if seconds > _LONGEST_S:
        raise UnitError("a duration is at most 366d")
    return seconds


def parse_size(value: Any) -> int:
    """`512B`, `64KiB`, `1.5MiB` in bytes."""
    number, unit = _split(value, "a size", "512B, 64KiB or 10MiB")
    if unit not in _SIZE_UNITS:
        raise UnitError(_unit_fault("a size", unit, "B, KiB, MiB or GiB"), _size_fix(number, unit))
    size = float(number) * _SIZE_UNITS[unit]
    if size > _LARGEST:
        raise UnitError("a size is at most 1024TiB")
    if size != int(size):
        raise UnitError("a size is a whole number of bytes", f"{int(size)}B")
    return int(size)


def parse_share(value: Any) -> float:
    """`20%` as 0.2."""
    number, unit = _split(value, "a share", "20%")
    if unit != "%":
        whole = float(number)
        fix = f"{whole * 100 if whole <= 1 and '.' in number else whole:g}%" if not unit else ""
        raise UnitError(_unit_fault("a share", unit, "%"), fix)
    if float(number) > 100:
        raise UnitError("a share is at most 100%")
    return float(number) / 100


def format_duration(seconds: float) -> str:
    """The shortest spelling, such as `250ms` or `1m`."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= _DURATION_UNITS[unit] and seconds % _DURATION_UNITS[unit] == 0:
            return f"{seconds / _DURATION_UNITS[unit]:.15g}{unit}"
    return f"{round(seconds * 1000, 6):.15g}ms" if seconds else "0s"


def format_size(size: int) -> str:
    """The shortest spelling, such as `64KiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return f"{size}B"


def format_share(share: float) -> str:
    return f"{share * 100:g}%"


def _split(value: Any, what: str, such_as: str) -> tuple[str, str]:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UnitError(f"needs {what}, such as {such_as}")
    # repr would say 1e+16 for large floats, which no unit can follow.
    found = _QUANTITY(value if isinstance(value, str) else f"{value:.15g}")
    if not found:
        raise UnitError(f"needs {what}, such as {such_as}; found {str(value)[:40]!r}")
    return found[1], found[2]


def _unit_fault(what: str, unit: str, known: str) -> str:
    return f"{what} needs a unit ({known})" if not unit else f"{unit!r} is not a unit of {what} ({known})"


def _size_fix(number: str, unit: str) -> str:
    if not unit:
        return format_size(int(number)) if number.isdecimal() else ""
    letter = unit[0].upper()
    return f"{number}{letter}{'' if letter == 'B' else 'iB'}" if letter in "BKMGT" else ""
