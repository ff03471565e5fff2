"""Which request the running code works for: it travels with tasks, and with calls into executors."""

from contextvars import ContextVar
from math import inf

request_id: ContextVar[str] = ContextVar("request_id", default="")
deadline: ContextVar[float] = ContextVar("deadline", default=inf)
"""When the answer is due, on the monotonic clock."""


def enter(of_request: str, due: float) -> None:
    """From here on, this task works for that request."""
    request_id.set(of_request)
    deadline.set(due)
