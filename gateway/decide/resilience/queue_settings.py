"""Settings of a queue: who waits, and for how long, when an upstream is full."""

from dataclasses import dataclass

DEFAULT = "default"
"""The class of routes that name none."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """One class of requests. All that wait in it wait as long, and share what becomes free by weight."""

    name: str
    max: int = 1000
    """Requests that may wait, for each upstream and worker; with 0 none does."""
    wait_s: float = 0.5
    weight: int = 1
