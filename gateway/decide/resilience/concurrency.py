"""How many requests an upstream may have at once."""

from abc import ABC, abstractmethod


class Limiter(ABC):
    """Says how many may be under way."""

    limit: int
    until_head: bool
    """Whether it limits requests until the head of their answer, as its measure is; else until all of the answer."""

    @abstractmethod
    def on_answer(self, latency_s: float, ok: bool, in_flight: int, now: float) -> None:
        """An attempt ended: time to the head of its answer (or to its failure), and how many were under way."""


class Fixed(Limiter):
    """The number that the config says."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.until_head = False

    def on_answer(self, latency_s: float, ok: bool, in_flight: int, now: float) -> None:
        """Nothing is learned."""
