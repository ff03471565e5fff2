"""The configs that a worker still works by: the one that serves, those that exchanges began with, one being built.

What several of them may have in common (executors, applications) goes from one to the next where its key stays, and
ends with the last exchange of the last one that has it.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Protocol, TypeVar, cast


class Shared(Protocol):
    """What may outlive the config that it was made for."""

    def retire(self) -> None:
        """Nobody has it any more: end, once what it still does is done."""


_S = TypeVar("_S", bound=Shared)


class Share:
    """What one config shares. `take` on any thread; the rest belongs to the loop."""

    def __init__(self, offered: Mapping[Hashable, Shared]) -> None:
        """offered: what there is, all of it held until it is known which of it is taken."""
        self._offered = offered
        self.taken: dict[Hashable, Shared] = {}
        self.fresh: list[Shared] = []
        """What nobody had before."""
        self._users = 0
        self._on_over: Callable[[], None] | None = None

    def take(self, key: Hashable, make: Callable[[], _S]) -> _S:
        """What has that key, made where nobody has it."""
        found = self.taken.get(key) or self._offered.get(key)
        if found is None:
            found = make()
            self.fresh.append(found)
        self.taken[key] = found
        return cast(_S, found)

    def held(self) -> set[Shared]:
        return {*self._offered.values(), *self.taken.values()}

    def settle(self) -> None:
        """No more is taken."""
        self._offered = {}

    def enter(self) -> None:
        """An exchange begins that may use all of it."""
        self._users += 1

    def leave(self) -> None:
        """Such an exchange is over."""
        self._users -= 1
        self._look()

    def when_over(self, on_over: Callable[[], None]) -> None:
        """No more exchanges begin; call it once those under way are over."""
        self._on_over = on_over
        self._look()

    def _look(self) -> None:
        if self._on_over is not None and not self._users:
            on_over, self._on_over = self._on_over, None  # which knows this share: nothing is to be left of it
            on_over()

    def __repr__(self) -> str:
        return f"<Share {list(self.taken)} {self._users} exchanges>"


class Shares:
    """All that are held. Belongs to the loop."""

    def __init__(self) -> None:
        self._used: list[Share] = []
        """The last one serves."""
        self._built: list[Share] = []

    def next(self) -> Share:
        """For a config that is about to be built: it is offered all that there is."""
        offered = {key: each for share in self._used for key, each in share.taken.items()}
        share = Share(offered)
        self._built.append(share)
        return share

    def use(self, share: Share) -> None:
        """From now on exchanges begin with it, and with none of the others."""
        self._built.remove(share)
        before = self._used[-1] if self._used else None
        self._used.append(share)
        held = share.held()
        share.settle()
        self._end(held)
        if before is not None:
            before.when_over(lambda: self._over(before))

    def discard(self, share: Share) -> None:
        """Nothing ever begins with it."""
        if share in self._built:
            self._built.remove(share)
            self._end(share.held())

    def _over(self, share: Share) -> None:
        self._used.remove(share)
        self._end(share.held())

    def _end(self, of: Iterable[Shared]) -> None:
        """Let go of what nobody holds any more."""
        held = {each for share in (*self._used, *self._built) for each in share.held()}
        for each in set(of) - held:
            each.retire()

    def __repr__(self) -> str:
        return f"<Shares {self._used}>"
