"""Whatever is called, let go, cancelled or late, in whatever order: nothing is lost, doubled or kept."""

import asyncio
import threading
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.clock import monotonic
from gateway.core.errors import GatewayError
from gateway.executors.settings import ExecutorSettings
from tests.executors.conftest import Made, eventually

SHORT_S = 0.002

STEPS = st.one_of(
    st.tuples(st.just("call"), st.sampled_from(["in time", "late", "fails"])),
    st.tuples(st.just("end"), st.integers(0, 20)),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("turn"), st.integers(0, 3)),
)


class Asked:
    """One call, and what came of it."""

    def __init__(self, executor: Any, how: str, number: int) -> None:
        self.gate = threading.Event()
        self.began = self.ended = 0
        self.number = number
        self._fails = how == "fails"
        deadline = monotonic() + SHORT_S if how == "late" else None
        self.task = asyncio.create_task(executor.call(self._run, deadline=deadline))

    def _run(self) -> int:
        self.began += 1
        assert self.gate.wait(10)
        self.ended += 1
        if self._fails:
            raise ZeroDivisionError(self.number)
        return self.number

    async def outcome(self) -> str:
        try:
            assert await self.task == self.number
        except asyncio.CancelledError:
            return "cancelled"
        except GatewayError as error:
            return error.reason.name
        except ZeroDivisionError as error:
            return "error" if error.args == (self.number,) else "the error of another call"
        return "ok"


@settings(max_examples=150, deadline=None)
@given(
    threads=st.integers(1, 4),
    queue=st.integers(0, 4),
    spare=st.integers(0, 3),
    steps=st.lists(STEPS, min_size=1, max_size=40),
)
def test_no_call_is_lost_or_answered_twice(threads: int, queue: int, spare: int, steps: list[tuple[str, Any]]) -> None:
    asyncio.run(_play(ExecutorSettings("default", threads, 0, queue, 30.0, spare), steps))


async def _play(sizes: ExecutorSettings, steps: list[tuple[str, Any]]) -> None:
    made = Made()
    executor = made.all_of(sizes).get("")
    asked: list[Asked] = []
    for step, argument in steps:
        if step == "call":
            asked.append(Asked(executor, argument, len(asked)))
        elif step == "end" and asked:
            asked[argument % len(asked)].gate.set()
        elif step == "cancel" and asked:
            asked[argument % len(asked)].task.cancel()
        for _ in range(argument if step == "turn" else 1):
            await asyncio.sleep(0)
        _check_bounds(executor.stats(), sizes)
    for each in asked:
        each.gate.set()
    outcomes = [await each.outcome() for each in asked]
    await eventually(lambda: not any(executor.stats()[each] for each in ("busy", "abandoned", "waiting")))
    for each, outcome in zip(asked, outcomes, strict=True):
        _check_runs(each, outcome)
    assert executor.stats()["idle"] <= sizes.threads
    await _check_counts(made, asked, Counter(outcomes))
    assert await executor.call(len, "abc") == 3
    made.executors[0].close()


def _check_bounds(stats: dict[str, Any], sizes: ExecutorSettings) -> None:
    assert stats["busy"] <= sizes.threads
    assert stats["busy"] + stats["idle"] + stats["abandoned"] <= sizes.threads + sizes.abandoned
    assert stats["waiting"] <= sizes.queue


def _check_runs(each: Asked, outcome: str) -> None:
    """What was answered ran once; what was refused never; what was given up, at most once and to its end."""
    assert each.began == each.ended <= 1
    assert outcome in ("ok", "error", "cancelled", "executor_full", "executor_timeout")
    if outcome in ("ok", "error"):
        assert each.ended == 1
    elif outcome == "executor_full":
        assert each.began == 0


async def _check_counts(made: Made, asked: list[Asked], outcomes: Counter[str]) -> None:
    """Each call was counted once, but for those that were withdrawn before they began."""

    def counted(outcome: str) -> float:
        return made.count("gateway_executor_tasks_total", executor="default", outcome=outcome)

    ended = sum(each.ended for each in asked)
    await eventually(lambda: counted("ok") + counted("error") + counted("abandoned") == ended)
    assert counted("rejected") == outcomes["executor_full"]
    assert counted("timeout") + counted("abandoned") >= outcomes["executor_timeout"]
    assert counted("ok") >= outcomes["ok"]
    assert counted("error") >= outcomes["error"]
