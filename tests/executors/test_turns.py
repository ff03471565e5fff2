"""Calls that compute take turns; calls that wait do not."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.executors import turns as turns_module
from gateway.executors.turns import HEAVY_S, SEEN_TO_WAIT, Turns
from gateway.executors.work import Work


class Together:
    """How many run at a time, now and at the most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


def compute(together: Together, seconds: float = 2 * HEAVY_S) -> None:
    with together:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            sum(range(100))


def run_all(turns: Turns, function: Callable[..., Any], *arguments: Any, threads: int = 4) -> None:
    works = [Work(function, arguments) for _ in range(threads)]
    running = [threading.Thread(target=turns.run, args=(work,)) for work in works]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(20)
    assert all(work.future.done() for work in works)
    for work in works:
        work.future.result()


def test_one_that_computes_runs_at_a_time() -> None:
    turns, together = Turns(), Together()
    turns.run(Work(compute, (together,)))  # now it is known
    run_all(turns, compute, together)
    assert together.most == 1
    assert together.now == 0


def test_those_that_wait_do_so_side_by_side() -> None:
    turns = Turns()
    turns.run(Work(compute, (Together(),)))
    barrier = threading.Barrier(4)
    run_all(turns, barrier.wait, 10)
    assert not barrier.broken


def test_who_computes_a_little_and_waits_long_is_let_go() -> None:
    turns = Turns()
    wait = threading.Event()

    def compute_and_wait(barrier: threading.Barrier) -> None:
        compute(Together())
        wait.wait(30 * HEAVY_S)
        barrier.wait(10)

    alone = threading.Barrier(1)
    turns.run(Work(compute_and_wait, (alone,)))  # suspected, since it computed
    for _ in range(SEEN_TO_WAIT):
        turns.run(Work(compute_and_wait, (alone,)))
    run_all(turns, compute_and_wait, threading.Barrier(4))  # each waits for the others: one at a time, they would hang


def test_a_long_call_does_not_keep_others_out_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "SLICE_S", 0.01)
    turns = Turns()
    gate, began = threading.Event(), threading.Event()

    def compute_until_let_go(first: bool) -> None:
        compute(Together())
        if first:
            began.set()
            assert gate.wait(10)
        else:
            gate.set()

    turns.run(Work(compute_until_let_go, (False,)))
    gate.clear()
    long_one = threading.Thread(target=turns.run, args=(Work(compute_until_let_go, (True,)),))
    long_one.start()
    assert began.wait(10)
    turns.run(Work(compute_until_let_go, (False,)))  # lets the long one go, which it could not behind it
    long_one.join(10)
    assert not long_one.is_alive()


def test_what_was_cancelled_meanwhile_never_runs() -> None:
    turns, together = Turns(), Together()
    turns.run(Work(compute, (together,)))
    cancelled = Work(compute, (together,))
    cancelled.future.cancel()
    turns.run(cancelled)
    assert together.most == 1
    run_all(turns, compute, together)


def test_it_forgets_what_are_too_many_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "_HABITS", 2)
    turns = Turns()
    for number in range(5):
        space: dict[str, Any] = {"compute": compute, "Together": Together}
        exec(f"def f{number}():\n    compute(Together())\n", space)
        turns.run(Work(space[f"f{number}"], ()))
    assert len(turns._habits) <= 2
