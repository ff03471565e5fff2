"""Whether a request may be sent again."""

from dataclasses import dataclass
from typing import Final

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Safe to repeat (RFC 9110 section 9.2.2)."""
CONNECT: Final = "connect"
CONDITIONS: Final = (CONNECT, "reset", "timeout", "502", "503", "504")
"""connect: nothing was sent. reset: the connection broke before an answer, or what came is no HTTP. timeout: no head
within `timeout.head`. The others are statuses."""


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """`attempts`: tries in all. `budget`: a share of the requests of the last 10 s."""

    attempts: int = 2
    when: frozenset[str] = frozenset({CONNECT})
    budget: float = 0.2
    backoff_s: float = 0.025


def condition_of(reason: str, sent: bool) -> str:
    """What of CONDITIONS the failure of an attempt is; sent: whether anything of the request was."""
    if not sent:
        return CONNECT
    return "timeout" if reason == "upstream_timeout" else "reset"
