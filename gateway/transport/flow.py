"""How many bytes the gateway holds for peers that are slower than others."""

from collections.abc import Callable

from gateway.core.errors import GatewayError


class Buffered:
    """Bytes held by this worker, against a limit for all workers (`others` tells what the rest hold)."""

    __slots__ = ("limit_bytes", "others", "value")

    def __init__(self, limit_bytes: int, others: Callable[[], int] = lambda: 0) -> None:
        self.limit_bytes = limit_bytes
        self.others = others
        self.value = 0

    def add(self, size: int) -> None:
        """`size` may be negative."""
        self.value += size

    @property
    def full(self) -> bool:
        return self.value + self.others() > self.limit_bytes

    def check(self) -> None:
        """Raises the refusal where it is full."""
        if self.full:
            raise self.refusal()

    def refusal(self) -> GatewayError:
        return GatewayError("shed_overload", "the gateway holds all the bytes that limits.buffered allows")

    def __repr__(self) -> str:
        return f"<Buffered {self.value} of {self.limit_bytes}>"
