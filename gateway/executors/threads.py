"""A bounded set of threads that grows on demand, and that calls which never end cannot use up.

A ThreadPoolExecutor cannot grow, has no bound on its queue, and its stuck threads keep the interpreter from exiting.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, Final

from gateway.executors.work import Work

_log: Final = logging.getLogger(__name__)


class QueueFull(Exception):
    """As many calls wait as may."""


class ThreadExecutor(Executor):
    """Daemon threads behind one queue, first come first served; whoever is free takes the next.

    A thread whose call was abandoned is no capacity any more, and another takes its place, until `spare` are lost.
    When such a call ends after all, its thread is capacity again, or ends if it is one too many.
    """

    def __init__(
        self, name: str, *, threads: int, queue: int, spare: int = 0, run: Callable[[Work], None] = Work.__call__
    ) -> None:
        """run: runs a call, on the thread that it is called on."""
        self.name = name
        self.threads = threads
        self.queue = queue
        self.spare = spare
        self._run_work = run
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Work, None] = OrderedDict()
        """In their order, and quick to leave from the middle, as thousands may do at once."""
        self._idle: list[_Thread] = []
        self._running: dict[Work, _Thread] = {}
        self._alive = 0
        self._lost = 0
        self._started = 0
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run `fn` (a function, or Work) as soon as a thread is free. Raises QueueFull; RuntimeError once closed."""
        work = fn if isinstance(fn, Work) else Work(partial(fn, *args, **kwargs), ())
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the executor {self.name} is closed")
            if self._idle:
                thread = self._idle.pop()
                self._running[work] = thread
                thread.hand_over(work)
            elif not (self._may_grow() and self._grow(work)):
                full = len(self._waiting) >= self.queue and not work.unbounded
                if full or self._lost == self._alive:  # no thread would ever take it
                    raise QueueFull
                self._waiting[work] = None
        return work.future

    def withdraw(self, work: Work) -> bool:
        """Take back what has not begun; False where it has begun or ended."""
        with self._lock:
            self._waiting.pop(work, None)  # not there where a thread has taken it
        return work.future.cancel()

    def abandon(self, work: Work) -> bool:
        """Do without the thread of a call that does not end. False where it has ended."""
        with self._lock:
            thread = self._running.get(work)
            if thread is None or thread.lost:
                return False
            thread.lost = True
            self._lost += 1
            if self._waiting and self._may_grow() and self._grow(next(iter(self._waiting))):
                self._waiting.popitem(last=False)
        return True

    def _may_grow(self) -> bool:
        return self._alive - self._lost < self.threads and self._alive < self.threads + self.spare

    def _grow(self, work: Work) -> bool:
        """Start a thread with that work; False where the system gives no more."""
        thread = _Thread(work)
        self._running[work] = thread
        self._alive += 1
        self._started += 1
        try:
            threading.Thread(
                target=self._run, args=(thread,), name=f"executor-{self.name}-{self._started}", daemon=True
            ).start()
        except RuntimeError as error:
            del self._running[work]
            self._alive -= 1
            _log.error("executor %s gets no more threads (has %d): %s", self.name, self._alive, error)
            return False
        return True

    def _run(self, thread: "_Thread") -> None:
        run, work = self._run_work, thread.work
        while work is not None:
            run(work)
            work = self._next(thread, work)
            if work is None and not thread.ended:
                work = thread.wait()

    def _next(self, thread: "_Thread", done: Work) -> Work | None:
        """What that thread does now: None where it has to wait, or to end."""
        with self._lock:
            del self._running[done]
            thread.work = None  # what a call holds is not kept while there is nothing to do
            if thread.lost:
                thread.lost = False
                self._lost -= 1
            if self._closed or self._alive - self._lost > self.threads:
                self._alive -= 1
                thread.ended = True
                return None
            if self._waiting:
                work, _ = self._waiting.popitem(last=False)
                self._running[work] = thread
                return work
            self._idle.append(thread)
            return None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        """Take no more work and drop what waits. What runs is not waited for, whatever `wait` says."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = list(self._waiting), OrderedDict()
            idle, self._idle = self._idle, []
            self._alive -= len(idle)
        for thread in idle:
            thread.hand_over(None)
        for work in waiting:
            work.future.cancel()

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._waiting)

    @property
    def busy(self) -> int:
        """Threads with a call that is still waited for."""
        return len(self._running) - self._lost

    @property
    def idle(self) -> int:
        """Threads that wait for a call."""
        return len(self._idle)

    @property
    def lost(self) -> int:
        """Threads whose call was abandoned and has not ended."""
        return self._lost

    @property
    def capacity(self) -> int:
        """Calls that can run side by side, threads not yet started included."""
        return max(0, min(self.threads, self.threads + self.spare - self._lost))

    def __repr__(self) -> str:
        return (
            f"<ThreadExecutor {self.name} busy={self.busy}/{self.threads} waiting={self.waiting}/{self.queue}"
            f" lost={self._lost}/{self.spare}>"
        )


class _Thread:
    """What the executor knows of one of its threads; its lock is held while there is nothing to do."""

    __slots__ = ("_wake", "ended", "lost", "work")

    def __init__(self, work: Work) -> None:
        self.work: Work | None = work
        self.lost = False
        self.ended = False
        self._wake = threading.Lock()
        self._wake.acquire()

    def hand_over(self, work: Work | None) -> None:
        """Give it something to do, or None to end it."""
        self.work = work
        self._wake.release()

    def wait(self) -> Work | None:
        self._wake.acquire()
        return self.work
