"""What a balancer sees of a target, and what it does."""

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Load(Protocol):
    """A target as balancers see it. They write `ewma_s` and `ewma_at` and read the rest."""

    @property
    def key(self) -> str:
        """`host:port`; names the target through reloads."""

    @property
    def weight(self) -> int:
        """At least 1."""

    @property
    def in_flight(self) -> int:
        """Requests sent whose answer has not ended."""

    @property
    def started_at(self) -> float:
        """When the target joined or came back, on the clock of `now`."""

    @property
    def slow_start_s(self) -> float:
        """How long it counts as new after that."""

    ewma_s: float
    """Moving average of its latency; 0 until the first answer."""
    ewma_at: float
    """When `ewma_s` was written."""


L = TypeVar("L", bound=Load)


class Rng(Protocol):
    """Any `random.Random`."""

    def random(self) -> float:
        """At least 0, below 1."""


class Balancer(Protocol):
    """Picks a target for each request. One instance for each upstream and worker."""

    wants_reports: bool
    """False if `report` does nothing, so that callers may leave it out."""
    wants_key: bool
    """False if `pick` does not look at the key."""

    def pick(self, candidates: Sequence[L], key: str | None, now: float) -> L:
        """One of `candidates` (at least one). A tuple passed again must hold the same weights as before."""

    def report(self, target: Load, latency_s: float, ok: bool, now: float) -> None:
        """An answer's head came after `latency_s`, or (`ok` False) the target failed."""


class Silent:
    """A balancer that learns nothing from answers and needs no key."""

    wants_reports = False
    wants_key = False

    def report(self, target: Load, latency_s: float, ok: bool, now: float) -> None:
        """Nothing to learn."""
