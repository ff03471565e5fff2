"""What the whole gateway knows of targets: results of active checks, and what an operator drained.

Written on the supervisor's loop; the admin thread reads.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from gateway.admin.state import TargetFacts
from gateway.runtime.control import MarkTargets, Message
from gateway.runtime.prober import Checked, Gone
from gateway.upstreams.settings import UpstreamSettings

MARKS = 250
"""Of one message: their addresses fit into it, those of unix sockets too."""

_UNKNOWN = TargetFacts()


class TargetBook:
    """Calls `tell` with what all workers must know, when it changes."""

    def __init__(self, tell: Callable[[Message], None]) -> None:
        self._tell = tell
        self.facts: dict[tuple[str, str], TargetFacts] = {}
        self.counts: Counter[tuple[str, str, str]] = Counter()
        """Checks by upstream, address and result (pass, fail)."""

    def note(self, event: Checked | Gone) -> None:
        """Take what the prober says."""
        key = event.upstream, event.target
        known = self.facts.get(key, _UNKNOWN)
        if isinstance(event, Gone):
            self._put(key, replace(known, up=None, why=""))
            return
        self.counts[(*key, "pass" if event.passed else "fail")] += 1
        self._put(key, replace(known, up=event.up, why=event.why))

    def drain(self, upstream: str, target: str, drained: bool) -> None:
        """Take a target out of balancing, or back in."""
        key = upstream, target
        self._put(key, replace(self.facts.get(key, _UNKNOWN), drained=drained))

    def keep(self, upstreams: Sequence[UpstreamSettings]) -> None:
        """Forget what an operator said of targets that the config names no more; what it counted stays."""
        named = {each.name: {target.label for target in each.targets} for each in upstreams}
        moving = {each.name for each in upstreams if any(target.dns for target in each.targets)}
        for upstream, target in list(self.facts):
            if upstream not in moving and target not in named.get(upstream, ()):
                self._put((upstream, target), _UNKNOWN)

    def news(self) -> Iterator[MarkTargets]:
        """What a worker that starts has to know."""
        marks = (
            (*key, facts.up is not False, facts.drained)
            for key, facts in self.facts.items()
            if facts.drained or facts.up is False
        )
        while some := tuple(islice(marks, MARKS)):
            yield MarkTargets(some)

    def _put(self, key: tuple[str, str], facts: TargetFacts) -> None:
        before = self.facts.get(key, _UNKNOWN)
        if facts == _UNKNOWN:
            self.facts.pop(key, None)
        else:
            self.facts[key] = facts
        mark = facts.up is not False, facts.drained
        if mark != (before.up is not False, before.drained):
            self._tell(MarkTargets(((*key, *mark),)))

    def __repr__(self) -> str:
        return f"<TargetBook {self.facts}>"
