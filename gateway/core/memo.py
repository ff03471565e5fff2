"""What was worked out once, remembered: a bounded dict that a flood of new keys cannot make expensive."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Look up in `found`, add with `keep`. It takes `size` entries, then no more until `renew` empties it.

    So keys that never come again (random paths, ids in headers) cost at most `size` additions between two calls of
    `renew`, and those that do come again are soon back. `renew` is called once a second.
    """

    __slots__ = ("_size", "found")

    def __init__(self, size: int) -> None:
        self._size = size
        self.found: dict[K, V] = {}

    def keep(self, key: K, value: V) -> None:
        if len(self.found) < self._size:
            self.found[key] = value

    def renew(self) -> None:
        """Forget all if there was no room for more."""
        if len(self.found) >= self._size:
            self.found.clear()

    def __repr__(self) -> str:
        return f"<Memo {len(self.found)} of {self._size}>"
