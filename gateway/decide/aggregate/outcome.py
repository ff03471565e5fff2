"""What became of a source, as the client, the log and the metrics are told."""

from typing import Any, Final

from gateway.core.errors import REASONS
from gateway.core.json import dumps

STATUS: Final = "status"
TOO_LARGE: Final = "too_large"
REFERENCE: Final = "reference"
DEPENDENCY: Final = "dependency"
CANCELLED: Final = "cancelled"
_TITLES: Final = {
    STATUS: "its status is not 2xx",
    "not_json": "its answer is not JSON",
    TOO_LARGE: "its answer is too large",
    "pick_failed": "pick does not fit its answer",
    REFERENCE: "a value that its request refers to is missing or unusable",
    DEPENDENCY: "a source that it waits for has no value",
    CANCELLED: "nobody waits for it any more",
}
"""The closed list of reasons of a source, beside those of forwarding (core/errors.py)."""


class Outcome:
    """How one source ended: `reason` is None where it gave a value."""

    __slots__ = ("ms", "reason", "status")

    def __init__(self, status: int | None, reason: str | None, taken_s: float) -> None:
        self.status = status
        """Of its answer; None: there was none."""
        self.reason = reason
        self.ms = round(taken_s * 1000.0, 1)

    def as_json(self) -> dict[str, Any]:
        return {"status": self.status, "reason": self.reason, "ms": self.ms}

    @property
    def is_late(self) -> bool:
        """Whether it failed for want of time."""
        return self.reason is not None and self.reason in REASONS and REASONS[self.reason].status == 504

    def __str__(self) -> str:
        if self.reason == STATUS:
            return f"its status is {self.status}"
        known = _TITLES.get(self.reason or "")
        return known or (REASONS[self.reason].title.lower() if self.reason in REASONS else "ok")


def report(outcomes: dict[str, Outcome]) -> bytes | None:
    """`_sources`: those that gave no value of their own; None where all did."""
    failed = {name: each.as_json() for name, each in outcomes.items() if each.reason is not None}
    return dumps(failed) if failed else None
