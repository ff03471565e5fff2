"""The threads themselves: who runs what, when, on how many of them."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.executors.threads import QueueFull, ThreadExecutor
from gateway.executors.work import Work
from tests.laws.tree import ROOT

WAIT_S = 10


@contextmanager
def threads(**sizes: Any) -> Iterator[ThreadExecutor]:
    executor = ThreadExecutor("test", **{"threads": 1, "queue": 8, **sizes})
    try:
        yield executor
    finally:
        executor.shutdown()


class Held:
    """A call that runs until it is let go."""

    def __init__(self, executor: ThreadExecutor) -> None:
        self.began = threading.Event()
        self.gate = threading.Event()
        self.work = Work(self._run, ())
        self.future: Future[Any] = executor.submit(self.work)

    def _run(self) -> int:
        self.began.set()
        assert self.gate.wait(WAIT_S)
        return threading.get_ident()

    def begin(self) -> "Held":
        assert self.began.wait(WAIT_S)
        return self

    def end(self) -> int:
        self.gate.set()
        return int(self.future.result(WAIT_S))


def settled(executor: ThreadExecutor) -> None:
    """Wait until its threads have put down what they had."""
    pause = threading.Event()
    for _ in range(WAIT_S * 1000):
        if executor.busy == 0 and executor.lost == 0:
            return
        pause.wait(0.001)
    raise AssertionError(executor)


def test_first_come_first_served() -> None:
    order: list[int] = []
    with threads() as executor:
        first = Held(executor).begin()
        futures = [executor.submit(order.append, number) for number in range(8)]
        first.end()
        for future in futures:
            future.result(WAIT_S)
    assert order == list(range(8))


def test_threads_are_started_on_demand_and_used_again() -> None:
    with threads(threads=4) as executor:
        idents = set()
        for _ in range(5):
            idents.add(executor.submit(threading.get_ident).result(WAIT_S))
            settled(executor)
        assert len(idents) == 1
        held = [Held(executor).begin() for _ in range(4)]
        assert (executor.busy, executor.idle) == (4, 0)
        assert len({each.end() for each in held}) == 4


def test_a_slow_thread_holds_up_nobody_behind_it() -> None:
    with threads(threads=2) as executor:
        slow = Held(executor).begin()
        for _ in range(20):
            executor.submit(threading.get_ident).result(WAIT_S)
        assert not slow.future.done()
        slow.end()


def test_beyond_the_queue_is_refused_at_once() -> None:
    with threads(queue=2) as executor:
        held = [Held(executor).begin(), Held(executor), Held(executor)]
        with pytest.raises(QueueFull):
            executor.submit(print)
        late = executor.submit(Work(threading.get_ident, (), unbounded=True))
        for each in held:
            each.end()
        assert late.result(WAIT_S)


def test_what_is_withdrawn_never_runs_and_frees_its_place() -> None:
    with threads(queue=1) as executor:
        running, waiting = Held(executor).begin(), Held(executor)
        assert executor.withdraw(waiting.work)
        assert executor.waiting == 0
        assert not executor.withdraw(running.work)
        next_one = Held(executor)
        running.end()
        next_one.end()
        assert not waiting.began.is_set()
        assert waiting.future.cancelled()


def test_an_abandoned_thread_is_made_up_for_and_taken_back() -> None:
    with threads(threads=1, spare=1) as executor:
        stuck, waiting = Held(executor).begin(), Held(executor)
        assert executor.abandon(stuck.work)
        assert not executor.abandon(stuck.work)
        waiting.begin()
        assert (executor.busy, executor.lost, executor.capacity) == (1, 1, 1)
        stuck.end()
        waiting.end()
        settled(executor)
        assert executor.idle == 1  # the surplus thread has ended
        assert not executor.abandon(stuck.work)


def test_beyond_the_cap_nothing_is_made_up_for() -> None:
    with threads(threads=1, spare=1, queue=2) as executor:
        stuck = []
        for _ in range(2):
            stuck.append(Held(executor).begin())
            assert executor.abandon(stuck[-1].work)
        assert (executor.lost, executor.capacity) == (2, 0)
        with pytest.raises(QueueFull):  # nobody would ever run it
            executor.submit(print)
        stuck[0].end()
        stuck[1].end()
        settled(executor)
        assert executor.submit(threading.get_ident).result(WAIT_S)


def test_a_system_without_more_threads_fails_no_one_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with threads(threads=1, spare=1) as executor:
        stuck, waiting = Held(executor).begin(), Held(executor)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refused)
            assert executor.abandon(stuck.work)
            with pytest.raises(QueueFull):  # nobody is there to run it
                executor.submit(print)
        stuck.end()
        waiting.begin().end()


def raise_it(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), StopIteration(1), CancelledError(), GeneratorExit()]
)
def test_errors_that_would_harm_the_loop_are_wrapped(error: BaseException) -> None:
    with threads() as executor, pytest.raises(RuntimeError, match=type(error).__name__) as raised:
        executor.submit(raise_it, error).result(WAIT_S)
    assert raised.value.__cause__ is error


def test_shutdown_waits_for_nobody() -> None:
    with threads() as executor:
        stuck, waiting = Held(executor).begin(), Held(executor)
        executor.shutdown()
        assert waiting.future.cancelled()
        with pytest.raises(RuntimeError, match="closed"):
            executor.submit(print)
        stuck.end()
        settled(executor)
        assert executor.idle == 0


STUCK = """
import threading
from gateway.executors.threads import ThreadExecutor
executor = ThreadExecutor("stuck", threads=2, queue=2)
began = threading.Semaphore(0)
def hang():
    began.release()
    threading.Event().wait()
for _ in range(4):
    executor.submit(hang)
began.acquire(), began.acquire()
print("leaving", flush=True)
"""


def test_stuck_threads_keep_no_interpreter_from_exiting() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK], cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=True
    )
    assert (done.stdout, done.stderr) == ("leaving\n", "")
