"""Keeping the workers alive: started, watched, replaced with back-off or by a roll, told what to do, ended."""

import asyncio
import logging
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress

from gateway.core.clock import monotonic
from gateway.observe.memory import HUNG_AFTER_S, Slot, WorkerState
from gateway.runtime.control import Drain, Failed, Message, Ready
from gateway.runtime.launch import Process

START_S = 60.0
"""A worker that is not ready by then is taken for hung."""
QUICK_S = 10.0
"""A worker that ended sooner after its start was not well: its successor waits."""
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
"""Before the first, second, ... replacement in a row; the last is for all further ones."""
TRACE_S = 0.5
"""For a hung worker to write where it stands, before it is killed."""
CUT_S = 5.0
"""Beyond the drain time, for a worker to end by itself."""

_log = logging.getLogger(__name__)


class StartError(Exception):
    """No worker could start; the text says why."""


class RollError(Exception):
    """The roll stopped, and the workers that it had not reached stay; the text says why."""


class _Place:
    """One slot and who works in it. `quick`: how many of its processes in a row ended soon after their start."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.process: Process | None = None
        self.quick = 0
        self.timer: asyncio.TimerHandle | None = None
        self.arrival: asyncio.Future[str] | None = None
        """Of a successor: empty once it serves, or why it does not."""
        self.departure: asyncio.Future[None] | None = None
        """Of one that has a successor: when it has ended."""


class Workers:
    """One process per slot. Belongs to the supervisor's loop, which must be able to handle SIGCHLD."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        slots: list[Slot],
        launch: Callable[[int], Process],
        *,
        spare: Slot,
        hung_after_s: float = HUNG_AFTER_S,
        news: Callable[[], Iterable[Message]] = tuple,
    ) -> None:
        """news: what every worker has to know; told right away to one that starts."""
        self._loop = loop
        self._launch = launch
        self._places = [_Place(slot) for slot in slots]
        self._spare = spare
        self._hung_after_s = hung_after_s
        self._news = news
        self._check_s = min(1.0, hung_after_s / 4)
        self._started: asyncio.Future[None] = loop.create_future()
        self._all_ended = asyncio.Event()
        self._ending = False
        self._hear: Callable[[Process, Message], None] = lambda process, message: None
        self._gone: Callable[[Process], None] = lambda process: None
        self.restarts: Counter[str] = Counter()
        """Replacements so far: killed (by a signal), exit (by itself), hung."""

    async def start(self) -> None:
        """Start all; return when the ready ones serve. Raises StartError when there are none."""
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)
        for place in self._places:
            self._start(place)
        self._loop.call_later(self._check_s, self._check, monotonic())
        await self._started

    async def roll(self, drain_s: float) -> None:
        """Replace all, one after the other: the successor serves before the old one drains. Raises RollError.

        The successor takes the spare slot, the slot of the one that ended is the next spare: what a slot counted stays.
        """
        for place in list(self._places):
            successor = await self._succeed()
            successor.quick = 0
            await self._leave(place, drain_s)

    async def _succeed(self) -> _Place:
        """A new place whose worker serves."""
        place = _Place(self._spare)
        arrival = place.arrival = self._loop.create_future()
        self._places.append(place)
        self._start(place)
        if failure := await arrival:
            raise RollError(failure)
        place.arrival = None
        return place

    async def _leave(self, place: _Place, drain_s: float) -> None:
        """Let the worker of `place` drain, and make its slot the spare one."""
        departure = place.departure = self._loop.create_future()
        if place.timer is not None:
            place.timer.cancel()
        if place.process is None:
            self._retire(place)
            return
        place.process.control.send(Drain(drain_s))
        late = self._loop.call_later(drain_s + CUT_S, place.process.popen.kill)
        await departure
        late.cancel()

    def _retire(self, place: _Place) -> None:
        self._places.remove(place)
        self._spare = place.slot
        place.slot.retire()
        if place.departure is not None and not place.departure.done():
            place.departure.set_result(None)

    @property
    def started(self) -> bool:
        """True once `start` has returned."""
        return self._started.done()

    def listen(self, hear: Callable[[Process, Message], None], gone: Callable[[Process], None]) -> None:
        """hear: told of what workers answer; gone: told of each that ended."""
        self._hear, self._gone = hear, gone

    def tell(self, message: Message) -> None:
        """Send `message` to every worker."""
        for process in self.processes:
            process.control.send(message)

    def hurry(self) -> None:
        """Start now those that wait for their next try."""
        for place in list(self._places):
            if place.timer is not None and not self._ending:
                place.timer.cancel()
                self._start(place)

    async def drain(self, seconds: float) -> None:
        """Tell all to drain and return when they have ended; those that are late are killed."""
        self._end()
        self.tell(Drain(seconds))
        try:
            await asyncio.wait_for(self._all_ended.wait(), seconds + CUT_S)
        except TimeoutError:
            _log.error("workers did not end within %g s and are killed", seconds + CUT_S)
            await self.kill()

    async def kill(self) -> None:
        """End all at once; return when they have ended."""
        self._end()
        for process in self.processes:
            process.popen.kill()
        await self._all_ended.wait()

    def _end(self) -> None:
        self._ending = True
        for place in self._places:
            if place.timer is not None:
                place.timer.cancel()
        self._note_end()

    @property
    def processes(self) -> list[Process]:
        """Those that run."""
        return [place.process for place in self._places if place.process is not None]

    def _start(self, place: _Place) -> None:
        place.timer = None
        place.slot.state = WorkerState.STARTING
        try:
            place.process = self._launch(place.slot.index)
        except OSError as error:
            _log.error("worker %d cannot be started: %s", place.slot.index, error)
            place.slot.mark_dead()
            if self._did_not_arrive(place, str(error)):
                return
            place.quick += 1
            self._settle(f"workers cannot be started: {error}")
            self._again(place)
            return
        place.slot.pid = place.process.pid
        for message in self._news():
            place.process.control.send(message)
        self._loop.add_reader(place.process.control, self._on_control, place, place.process)

    def _on_control(self, place: _Place, process: Process) -> None:
        try:
            while (message := process.control.receive()) is not None:
                if isinstance(message, Ready):
                    process.ready = True
                    if place.arrival is not None and not place.arrival.done():
                        place.arrival.set_result("")
                    self._settle()
                elif isinstance(message, Failed):
                    process.failure = message.text
                else:
                    self._hear(process, message)
        except BlockingIOError:
            return
        self._loop.remove_reader(process.control)

    def _reap(self) -> None:
        for place in list(self._places):
            process = place.process
            if process is not None and (how := process.end()) is not None:
                self._on_control(place, process)  # its last words
                self._ended(place, process, how)
        if os.getpid() == 1:
            _reap_orphans({process.pid for process in self.processes})

    def _ended(self, place: _Place, process: Process, how: str) -> None:
        self._loop.remove_reader(process.control)
        process.control.close()
        place.process = None
        place.slot.mark_dead()
        self._gone(process)
        if self._ending:
            self._note_end()
            return
        if place.departure is not None:
            self._retire(place)
            return
        place.quick = place.quick + 1 if monotonic() - process.started_at < QUICK_S else 0
        why = f"cannot start: {process.failure}" if process.failure else f"ended ({how})"
        if self._did_not_arrive(place, f"it {why}"):
            return
        if not self._started.done():
            self._settle(f"worker {place.slot.index} {why}")
            return
        reason = "hung" if process.hung else "exit" if how.startswith("exit") else "killed"
        self.restarts[reason] += 1
        _log.error("worker %d (pid %d) %s: it is replaced", place.slot.index, process.pid, why)
        self._again(place)

    def _did_not_arrive(self, place: _Place, why: str) -> bool:
        """True of a successor that ended before it served: it gets no second try."""
        if place.arrival is None or place.arrival.done():
            return False
        self._retire(place)
        place.arrival.set_result(why)
        return True

    def _again(self, place: _Place) -> None:
        if self._ending or not self._started.done():
            return
        delay = BACKOFF_S[min(place.quick, len(BACKOFF_S)) - 1] if place.quick else 0.0
        place.timer = self._loop.call_later(delay, self._start, place)

    def _settle(self, failure: str = "") -> None:
        """The start is over when every worker is ready or has ended."""
        processes = self.processes
        if self._started.done() or not all(process.ready for process in processes):
            return
        if not processes:
            self._started.set_exception(StartError(failure or "no worker could be started"))
            return
        self._started.set_result(None)
        for place in self._places:
            if place.process is None:
                self._again(place)

    def _note_end(self) -> None:
        if not self.processes:
            self._all_ended.set()

    def _check(self, due: float) -> None:
        """Replace workers whose loop stands still, unless it was this process that stood still."""
        now = monotonic()
        self._loop.call_later(self._check_s, self._check, now + self._check_s)
        if now - due > self._check_s:
            return
        for place in self._places:
            process = place.process
            if process is None or process.hung:
                continue
            silent = now - max(place.slot.heartbeat, process.started_at)
            if silent > (self._hung_after_s if process.ready else START_S):
                self._replace_hung(place, process, silent)

    def _replace_hung(self, place: _Place, process: Process, silent: float) -> None:
        process.hung = True
        _log.error(
            "worker %d (pid %d) does not answer for %.1f s: it is killed; where it stands:",
            place.slot.index,
            process.pid,
            silent,
        )
        process.popen.send_signal(signal.SIGUSR2)
        self._loop.call_later(TRACE_S, process.popen.kill)

    def __repr__(self) -> str:
        return f"<Workers {[place.slot for place in self._places]} restarts={dict(self.restarts)}>"


def _reap_orphans(own: set[int]) -> None:
    """What workers leave behind is ours where we are the first process of a container; nobody else waits for it."""
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in own:
            os.waitpid(ended.si_pid, os.WNOHANG)
