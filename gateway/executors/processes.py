"""A set of processes, each with one call at a time: one that hangs or dies is replaced, and costs its own call only.

In a ProcessPoolExecutor the end of one process fails every call that waits.
"""

import logging
import pickle
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from gateway.core import current
from gateway.executors.frames import RemoteTraceback, Setup, Steps
from gateway.executors.process import Process, ProcessDied
from gateway.executors.work import label_of

BACKOFF_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
"""Before a start when so many before it failed in a row; the last is for all further ones."""
HOPELESS: Final = 3
"""Failed starts in a row after which calls no longer wait for one that succeeds."""

_log: Final = logging.getLogger(__name__)

LATE: Final = "killed: its call ran longer than it may"
"""How a process ended that we killed; another SIGKILL is somebody else's, such as the kernel's for want of memory."""


class Call:
    """One call in whatever process is free. Called on a thread, which it blocks."""

    __slots__ = ("arguments", "function", "killed", "over", "process", "processes")

    def __init__(self, processes: "Processes", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.processes = processes
        self.function = function
        self.arguments = arguments
        self.process: Process | None = None
        self.killed = self.over = False

    def __call__(self) -> Any:
        return self.processes.run(self)


class Processes:
    """Processes that are ready take calls in turns: the one that was free for longest comes first."""

    def __init__(self, name: str, count: int, steps: Steps, niceness: int = 0) -> None:
        """steps: what each process runs ahead of all calls, asked at each start; niceness: added to our own."""
        self.name = name
        self.count = count
        self._steps = steps
        self._niceness = niceness
        self._changed = threading.Condition()
        self._ready: deque[Process] = deque()
        self._alive: set[Process] = set()
        self._put_off = 0
        """Places for which the system gave no thread to start a process on."""
        self._busy = 0
        self._failed_starts = 0
        self._closed = False
        self.failure = ""
        """Why the last one could not start; empty once one could."""

    def start(self) -> "list[Future[None]]":
        """Start all; the futures are done when they are ready, or raise ProcessDied."""
        return [self._start_one(None) for _ in range(self.count)]

    # --- calls, on threads of the executor ---------------------------------------------------------------------------

    def run(self, call: Call) -> Any:
        """The result of the call. Raises what it raises, ProcessDied, or TypeError for what cannot be pickled."""
        try:
            data = pickle.dumps((call.function, call.arguments, current.request_id.get(), current.deadline.get()))
        except Exception as error:
            raise TypeError(f"{label_of(call.function)} cannot be called in another process: {error}") from error
        try:
            reply = self._ask(call, data)
        finally:
            with self._changed:
                call.over = True
        return _result(reply)

    def _ask(self, call: Call, data: bytes) -> bytes:
        while True:
            process = self._take(call)
            try:
                return process.ask(data)
            except (BrokenPipeError, ConnectionResetError):
                continue  # it ended without having read all of the call, which so never began
            except (EOFError, OSError):
                what = f"the process of the executor {self.name} ended in the middle of the call ({process.end()})"
                raise ProcessDied(what) from None
            finally:
                self._give_back(call, process)

    def _take(self, call: Call) -> "Process":
        with self._changed:
            while not call.killed and not self._closed:
                if self._ready:
                    process = self._ready.popleft()
                    if process.lives():
                        call.process = process
                        self._busy += 1
                        return process
                    self._replace(process)
                elif self._failed_starts >= HOPELESS and not self._busy:
                    break
                else:
                    self._changed.wait()
        raise ProcessDied(f"no process of the executor {self.name} was ready: {self.failure or 'they are starting'}")

    def _give_back(self, call: Call, process: "Process") -> None:
        with self._changed:
            call.process = None
            self._busy -= 1
            if process.lives() and not call.killed and not self._closed:
                self._ready.append(process)
                self._changed.notify()
            else:
                self._replace(process)

    # --- from the loop -----------------------------------------------------------------------------------------------

    def kill(self, call: Call) -> bool:
        """End the process of a call that does not end; False where the call has ended."""
        with self._changed:
            if call.over:
                return False
            call.killed = True
            if call.process is None:
                self._changed.notify_all()
            else:
                call.process.kill(LATE)
        return True

    def check(self) -> None:
        """Replace those that ended while they had nothing to do, and start those that could not be."""
        with self._changed:
            put_off, self._put_off = self._put_off, 0
            for _ in range(put_off):
                self._start_one(None)
            for process in [each for each in self._ready if not each.lives()]:
                self._ready.remove(process)
                self._replace(process)

    def close(self) -> None:
        """End all of them, whatever they do; waits for none."""
        with self._changed:
            self._closed = True
            idle, self._ready = self._ready, deque()
            for process in self._alive:
                process.kill()
            self._changed.notify_all()
        threading.Thread(target=lambda: [process.end() for process in idle], daemon=True).start()

    @property
    def idle(self) -> int:
        """Processes that wait for a call."""
        return len(self._ready)

    @property
    def pids(self) -> list[int]:
        return sorted(process.pid for process in self._alive)

    # --- starting ----------------------------------------------------------------------------------------------------

    def _replace(self, process: "Process") -> None:
        """With the lock held."""
        self._alive.discard(process)
        if not self._closed:
            self._start_one(process)

    def _start_one(self, before: "Process | None") -> "Future[None]":
        """Start one, in place of the one `before`, on a thread of its own, since that takes a while."""
        ready: Future[None] = Future()
        ready.set_running_or_notify_cancel()  # who waits may leave, and it is started all the same
        name = f"executor-{self.name}-start"
        try:
            threading.Thread(target=self._start, args=(before, ready), name=name, daemon=True).start()
        except RuntimeError as error:
            self._put_off += 1
            self.failure = str(error)
            ready.set_exception(self._cannot_start(str(error)))
            if before is not None:
                _log.error("executor %s: process %d ended (%s): %s", self.name, before.pid, before.end(), error)
        return ready

    def _start(self, before: "Process | None", ready: "Future[None]") -> None:
        if before is not None:
            _log.warning("executor %s: process %d ended (%s) and is replaced", self.name, before.pid, before.end())
        with self._changed:
            delay_s = BACKOFF_S[min(self._failed_starts, len(BACKOFF_S) - 1)]
            if self._changed.wait_for(lambda: self._closed, delay_s):
                ready.set_exception(self._cannot_start("it is closed"))
                return
        try:
            process = self._launch()
        except (ProcessDied, OSError) as error:
            self._start_failed(str(error), ready)
            return
        except Exception as error:
            self._start_failed(f"{type(error).__name__}: {error}", ready)
            return
        with self._changed:
            self._failed_starts, self.failure = 0, ""
            self._ready.append(process)
            self._changed.notify()
        ready.set_result(None)

    def _launch(self) -> "Process":
        """A process that is ready. Raises ProcessDied, OSError, and what the steps raise."""
        setup = Setup(list(sys.path), self._niceness, pickle.dumps(self._steps()))
        process = Process()
        with self._changed:
            self._alive.add(process)
            if self._closed:
                process.kill()
        try:
            process.set_up(setup)
        except BaseException:
            process.end()
            with self._changed:
                self._alive.discard(process)
            raise
        return process

    def _start_failed(self, why: str, ready: "Future[None]") -> None:
        with self._changed:
            self._failed_starts += 1
            self.failure = why
            self._changed.notify_all()
            closed = self._closed
            if not closed:
                self._start_one(None)
        if not closed:
            _log.error("executor %s: a process cannot start: %s", self.name, why)
        ready.set_exception(self._cannot_start(why))

    def _cannot_start(self, why: str) -> ProcessDied:
        return ProcessDied(f"a process of the executor {self.name} cannot start: {why}")

    def __repr__(self) -> str:
        return f"<Processes {self.name} ready={len(self._ready)} busy={self._busy}/{self.count}>"


def _result(reply: bytes) -> Any:
    try:
        good, value, *text = pickle.loads(reply)
    except Exception as error:
        raise TypeError(f"what came back from the process cannot be read here: {error}") from error
    if good:
        return value
    value.__cause__ = RemoteTraceback(text[0])
    raise value
