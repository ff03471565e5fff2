"""More than a target can do: what it can do is answered, the rest is refused, and just after all is as before."""

from collections.abc import Callable

from tests.support.faults import Journal, Level, proxying
from tests.support.gateway import Gateway
from tests.support.load import Load
from tests.support.target import ANSWER_S, Target
from tests.support.wait import until

Serve = Callable[..., Gateway]

PLACES = 1
CAN = PLACES / ANSWER_S
"""Requests a second, at most: a third of the load."""
QUEUE = "queues: {default: {max: 16, wait: 1s}}"


def test_three_times_overload_is_refused_and_leaves_nothing(serve: Serve, journal: Journal) -> None:
    with Target(places=PLACES) as target:
        gateway = serve(proxying(target.url, more=QUEUE, of_upstream="concurrency: adaptive"))
        level = Level(gateway)
        with Load(gateway.port, rate=3 * CAN) as load:
            load.go_on(1500)
        assert set(load.outcomes.counts) == {"200", "503"}, load.outcomes
        assert set(load.outcomes.reasons) <= {"queue_full", "queue_timeout", "shed_overload"}
        assert load.outcomes.counts["200"] > load.outcomes.total / 6, "half of what it can do, on a slow machine"
        with Load(gateway.port, rate=CAN / 5) as after:
            after.go_on(80)
        assert after.outcomes.failed == 0, after.outcomes
        level.is_back()
        until(lambda: gateway.metric("gateway_queue_depth") == 0)
    just_after = f"of {after.outcomes.total} just after {after.outcomes.failed} failed"
    journal.note(f"3 times what the only target can do, one at a time: `concurrency: adaptive`; {just_after}", load)
