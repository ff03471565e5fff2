"""What an executor is made of. Seconds."""

from dataclasses import dataclass
from typing import Final

DEFAULT: Final = "default"
"""The executor that exists without being written: what a plain `def` without `executor:` runs on."""


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """A bounded pool of threads or of processes: exactly one of the two numbers is above 0."""

    name: str
    threads: int = 0
    processes: int = 0
    queue: int = 128
    """Calls that may wait; one more is refused at once."""
    timeout_s: float = 10.0
    """Waiting and running together."""
    abandoned: int = -1
    """How many threads may be lost to calls that do not end before no more are added; -1: twice the threads."""

    @property
    def abandoned_limit(self) -> int:
        return 2 * self.threads if self.abandoned < 0 else self.abandoned
