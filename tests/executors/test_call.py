"""Calls of an executor, as the request path makes them."""

import asyncio
import logging
import math
import threading
from typing import Any

import pytest

from gateway.core import current
from gateway.core.clock import monotonic
from gateway.core.errors import GatewayError
from gateway.core.exchange import Exchange
from gateway.executors.settings import ExecutorSettings
from tests.executors.conftest import Made, eventually

SHORT_S = 0.02


class Held:
    """A function that runs until it is let go."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.gate = threading.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> str:
        self._loop.call_soon_threadsafe(self.began.set)
        assert self.gate.wait(10)
        return "done"


async def begun(executor: Any, **options: Any) -> tuple[Held, "asyncio.Task[str]"]:
    held = Held()
    task = asyncio.create_task(executor.call(held, **options))
    await held.began.wait()
    return held, task


def fail() -> None:
    raise ValueError("no such thing")


async def test_results_and_errors_come_through(made: Made) -> None:
    executor = made(threads=2)
    assert await executor.call(math.gcd, 12, 18) == 6
    with pytest.raises(ValueError, match="no such thing") as raised:
        await executor.call(fail)
    assert "fail" in [each.name for each in raised.traceback]
    assert made.count("gateway_executor_tasks_total", executor="default", outcome="ok") == 1
    assert made.count("gateway_executor_tasks_total", executor="default", outcome="error") == 1


async def test_names(made: Made) -> None:
    executors = made.all_of(ExecutorSettings("default", threads=1), ExecutorSettings("fraud", threads=1))
    assert executors.get("").name == executors.get("default").name == "default"
    assert executors.get("fraud").kind == "threads"
    with pytest.raises(KeyError):
        executors.get("typo")


async def test_the_request_travels_with_the_call(made: Made) -> None:
    executor = made(threads=1)

    async def of_request(name: str) -> tuple[str, float]:
        current.enter(name, 17.0)
        return await executor.call(lambda: (current.request_id.get(), current.deadline.get()))  # type: ignore[no-any-return]

    both = [asyncio.create_task(of_request(name)) for name in ("a", "b")]
    assert await asyncio.gather(*both) == [("a", 17.0), ("b", 17.0)]
    assert await executor.call(current.request_id.get) == ""


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(made: Made) -> None:
    executor = made(threads=1, queue=1, timeout_s=7.0)
    held, first = await begun(executor)
    second = asyncio.create_task(executor.call(held))
    await asyncio.sleep(0)
    began = monotonic()
    with pytest.raises(GatewayError) as refused:
        await executor.call(fail)
    assert monotonic() - began < 0.05
    assert refused.value.reason.name == "executor_full"
    assert refused.value.retry_after_s == 7.0  # nothing was measured yet
    assert made.count("gateway_executor_queue_depth", executor="default") == 1
    assert made.count("gateway_executor_workers", executor="default", state="busy") == 1
    held.gate.set()
    assert await asyncio.gather(first, second) == ["done", "done"]
    assert made.count("gateway_executor_tasks_total", executor="default", outcome="rejected") == 1


async def test_the_measured_rate_says_when_to_come_back(made: Made) -> None:
    executor = made(threads=1, queue=2, timeout_s=60.0)
    executor._meter.measure(100.0, busy=0, idle=0, lost=0, waiting=0, limit=2)
    for _ in range(5):
        await executor.call(math.gcd, 1, 1)
    executor._meter.measure(101.0, busy=0, idle=0, lost=0, waiting=0, limit=2)
    held, first = await begun(executor)
    waiting = [asyncio.create_task(executor.call(held)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(GatewayError) as refused:
        await executor.call(fail)
    assert refused.value.retry_after_s == pytest.approx(2 / 5)
    held.gate.set()
    await asyncio.gather(first, *waiting)


async def test_what_waits_too_long_never_begins(made: Made) -> None:
    executor = made(threads=1, queue=1)
    held, first = await begun(executor)
    never = Held()
    exchange = Exchange("GET", "/", None, "HTTP/1.1", monotonic())
    with pytest.raises(GatewayError, match="waited longer") as late:
        await executor.call(never, deadline=monotonic() + SHORT_S, exchange=exchange)
    assert late.value.reason.name == "executor_timeout"
    assert SHORT_S <= (exchange.executor_s or 0) < 1
    held.gate.set()
    assert await first == "done"
    assert await executor.call(math.gcd, 4, 6) == 2
    assert not never.began.is_set()
    assert made.count("gateway_executor_tasks_total", executor="default", outcome="timeout") == 1


async def test_a_deadline_that_has_passed_is_a_timeout(made: Made) -> None:
    executor = made(threads=1)
    with pytest.raises(GatewayError, match="executor_timeout"):
        await executor.call(Held().gate.wait, 1, deadline=monotonic() - 5)


async def test_what_runs_too_long_is_given_up_and_made_up_for(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    executor = made(threads=1, queue=1, timeout_s=SHORT_S, abandoned=1)
    stuck = Held()
    with pytest.raises(GatewayError, match="ran longer"):
        await executor.call(stuck)
    assert "did not end in time" in caplog.text
    assert await executor.call(math.gcd, 4, 6) == 2
    assert made.count("gateway_executor_workers", executor="default", state="abandoned") == 1
    assert made.executors[0].degraded == []
    stuck.gate.set()
    await eventually(lambda: not made.count("gateway_executor_workers", executor="default", state="abandoned"))
    assert made.count("gateway_executor_tasks_total", executor="default", outcome="abandoned") == 1
    assert made.count("gateway_executor_tasks_total", executor="default", outcome="ok") == 1


async def test_past_the_cap_it_is_degraded_until_calls_end(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    executor = made(threads=2, queue=0, timeout_s=SHORT_S, abandoned=1)
    stuck = [Held() for _ in range(3)]
    for each in stuck:
        with pytest.raises(GatewayError, match="executor_timeout"):
            await executor.call(each)
    made.registry.flush(monotonic())
    assert made.executors[0].degraded == [0]
    assert executor.stats()["abandoned"] == 3
    assert "executor default is degraded: 3 calls do not end (up to 1 are made up for), 0 of 2 threads" in caplog.text
    with pytest.raises(GatewayError, match="executor_full"):
        await executor.call(fail)
    stuck[0].gate.set()
    stuck[1].gate.set()
    await eventually(lambda: not made.executors[0].degraded)
    made.registry.flush(monotonic())
    assert "whole again" in caplog.text
    stuck[2].gate.set()


async def test_a_caller_that_leaves_withdraws_what_has_not_begun(made: Made) -> None:
    executor = made(threads=1, queue=1)
    held, first = await begun(executor)
    never = Held()
    second = asyncio.create_task(executor.call(never))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    third = asyncio.create_task(executor.call(math.gcd, 4, 6))  # in the place that it left
    held.gate.set()
    assert await asyncio.gather(first, third) == ["done", 2]
    assert not never.began.is_set()


async def test_what_runs_for_a_caller_that_left_is_counted_at_its_end(made: Made) -> None:
    executor = made(threads=1)
    held, task = await begun(executor)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made.count("gateway_executor_workers", executor="default", state="busy") == 1
    held.gate.set()
    await eventually(lambda: made.count("gateway_executor_tasks_total", executor="default", outcome="ok"))


async def test_what_runs_for_a_caller_that_left_is_given_up_at_its_deadline(made: Made) -> None:
    executor = made(threads=1, timeout_s=SHORT_S)
    held, task = await begun(executor)
    task.cancel()
    await eventually(lambda: executor.stats()["abandoned"])
    assert task.cancelled()
    held.gate.set()
    await eventually(lambda: not executor.stats()["abandoned"])
    assert made.count("gateway_executor_tasks_total", executor="default", outcome="abandoned") == 1
    assert made.count("gateway_executor_tasks_total", executor="default", outcome="ok") == 0


async def test_the_default_executor_of_the_loop_is_never_used(made: Made) -> None:
    loop = asyncio.get_running_loop()
    assert await made(threads=1).call(math.gcd, 4, 6) == 2
    assert loop._default_executor is None  # type: ignore[attr-defined]


async def test_once_closed_it_takes_no_calls(made: Made) -> None:
    executor = made(threads=1)
    made.executors[0].close()
    with pytest.raises(GatewayError, match="draining"):
        await executor.call(fail)


async def test_it_says_how_it_is(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    executor = made(threads=3, queue=5)
    held, task = await begun(executor)
    stats = executor.stats()
    assert (stats["kind"], stats["limit"], stats["busy"], stats["queue"]) == ("threads", 3, 1, 5)
    assert "busy=1/3 waiting=0/5" in repr(made.executors[0])
    held.gate.set()
    await task
    assert caplog.text == ""
