"""When a worker has too much to do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OverloadSettings:
    """Thresholds past which new requests are refused; None: that is not looked at."""

    loop_lag_s: float | None = 0.25
    """Of the smoothed lag of the event loop, seconds."""
    memory: float | None = 0.85
    """Of the memory that may be used, 0 to 1."""
