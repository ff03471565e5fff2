"""The access log: one line a request, formatted on the loop, written by a thread."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AccessLogSettings:
    """Where the lines go (`-` is standard output) and which requests get one."""

    path: str = "-"
    format: str = "json"
    add: tuple[str, ...] = ()
    """More fields: `query`, `header:<name>` (of the request)."""
    drop: tuple[str, ...] = ()
    sample: float = 1.0
    """Share of the requests that are logged, 0 to 1; errors (status 500 and above) always are."""
    min_duration_s: float = 0.0
    only_errors: bool = False
