"""One worker: the data plane on an event loop of its own. `python -m gateway.runtime.worker FD` by the supervisor.

It takes its orders from the supervisor over the control socket, whose end is an order too: without a supervisor it
drains. Signals are the supervisor's affair (a terminal and systemd send them to every process of the group).
"""

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType

import uvloop

from gateway.config.settings import GatewaySettings
from gateway.core.clock import monotonic
from gateway.executors.guard import LoopGuard
from gateway.executors.process import ProcessDied
from gateway.executors.turns import SWITCH_S
from gateway.observe.lag import LagMeter
from gateway.observe.logs import setup
from gateway.observe.memory import SharedMemory, WorkerState
from gateway.observe.registry import Registry
from gateway.pipeline.python import CodeError, look_in
from gateway.runtime.admission import Admission
from gateway.runtime.assemble import assemble
from gateway.runtime.control import (
    Control,
    Drain,
    Failed,
    Forget,
    MarkTargets,
    Message,
    Prepare,
    Ready,
    Reopen,
    Start,
    Use,
    fetch_settings,
)
from gateway.runtime.doors import Doors
from gateway.runtime.drain import drain
from gateway.runtime.exchange_log import ExchangeLog
from gateway.runtime.layout import OTHER_VERSION, layout
from gateway.runtime.memory_use import MemoryUse
from gateway.runtime.overload_watch import OverloadWatch
from gateway.runtime.renewal import Renewal
from gateway.runtime.report import report
from gateway.runtime.trim import Trim, malloc_trim

TICK_S = 0.05
FLUSH_TICKS = 10
"""Counts are at most half a second old."""
REPORT_TICKS = 20
ORPHAN_S = 60.0
"""A worker whose loop stands still for so long and that nobody replaced is ended by the kernel."""
GC_THRESHOLDS = (20_000, 20, 50)
"""The request path makes no cycles, so collections may be rare (the default is 700, 10, 10)."""
TRACE_SIGNAL = signal.SIGUSR2
"""Makes the worker write where it stands to standard error, even while its loop hangs."""

_log = logging.getLogger(__name__)


class Worker:
    """The data plane, its acceptors, its log and its tick."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, control: Control, start: Start, settings: GatewaySettings
    ) -> None:
        self._loop = loop
        self._control = control
        self._settings = settings.once_built()
        memory = SharedMemory.attach(start.memory)
        self._slots = memory.slots[: start.slots]
        self._slot = memory.slot(start.slot)
        self._registry = Registry(self._slot)
        self._log = ExchangeLog(self._registry, start.slot, sole_writer=settings.workers == 1)
        self._log.use(settings.access_log)
        self._gateway = assemble(
            settings,
            self._registry,
            loop,
            log=self._log.tell,
            others_buffered=self._others_buffered,
        )
        self._renewal = Renewal(self._gateway, control, self._on_renewed)
        self._admission = Admission(self._slots, self._slot.index, settings.limits.connections, self._count)
        self._doors = Doors(loop, self._registry, self._admission)
        self._doors.use(self._gateway.entrances.open, start.sockets)
        self._ticks = 0
        self._due = monotonic()
        self._lag = LagMeter(self._registry, start.slot)
        self._overload = OverloadWatch(start.slot, MemoryUse(settings.workers).share)
        self._trim = Trim(malloc_trim())
        self._guard: LoopGuard | None = None
        self._runner: FrameType | None = None
        self._draining: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to serve. Raises what makes that impossible."""
        await self._gateway.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        self._control.setblocking(False)
        self._on_control()  # what is known of targets, ahead of the first request
        self._doors.open()
        self._slot.state = WorkerState.SERVING
        self._due = monotonic()
        self._tick()
        self._registry.flush(self._due)
        self._loop.add_reader(self._control, self._on_control)
        self._control.send(Ready())

    def watch(self, runner: FrameType) -> None:
        """From here on, name the code that holds up the loop; `runner` is the frame that will run it."""
        self._runner = runner
        self._guard_loop()

    def _guard_loop(self) -> None:
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        threshold_s = self._settings.loop_guard_s
        if threshold_s is not None:
            self._guard = LoopGuard(self._registry, threshold_s=threshold_s, every_s=TICK_S, below=self._runner)
            self._guard.start()

    def _others_buffered(self) -> int:
        return sum(slot.buffered for slot in self._slots if slot is not self._slot)

    def _count(self) -> int:
        """Client connections, those included that no protocol knows yet."""
        return self._gateway.connections + self._doors.handshaking

    def _tick(self) -> None:
        now = monotonic()
        self._lag.observe(self._due, now)
        self._due = now + TICK_S
        self._loop.call_later(TICK_S, self._tick)
        slot = self._slot
        slot.heartbeat = now
        slot.connections = self._count()
        slot.buffered = self._gateway.buffered.value
        if self._guard is not None:
            self._guard.beat(now)
        try:
            self._gateway.shed(self._overload.tick(now, self._lag.last_s, self._settings.overload))
            self._gateway.tick(now)
            self._trim.tick(now, slot.buffered)
        finally:
            self._ticks += 1
            if self._ticks % FLUSH_TICKS == 0:
                signal.setitimer(signal.ITIMER_REAL, ORPHAN_S)
                self._registry.flush(now)
                slot.degraded = self._gateway.executors.degraded
            if self._ticks % REPORT_TICKS == 0:
                slot.report = report(now, self._overload, self._gateway.upstreams)
        self._log.hand_over()

    def _on_control(self) -> None:
        """Obey all that was said so far."""
        with suppress(BlockingIOError):
            while self._obey(self._control.receive()):
                pass

    def _obey(self, message: Message | None) -> bool:
        """False if that was the end of the conversation."""
        if message is None:
            self._loop.remove_reader(self._control)
            _log.error("the supervisor is gone: worker %d drains and ends", self._slot.index)
            self._drain(self._settings.shutdown.drain_s)
        elif isinstance(message, Drain):
            self._drain(message.seconds)
        elif isinstance(message, Reopen):
            self.reopen()
        elif isinstance(message, MarkTargets):
            self._gateway.mark(message.marks)
        elif isinstance(message, Prepare):
            self._renewal.prepare(message)
        elif isinstance(message, Use):
            self._renewal.use(message)
        elif isinstance(message, Forget):
            self._renewal.forget(message)
        return message is not None

    def _on_renewed(self, settings: GatewaySettings, sockets: tuple[int, ...]) -> None:
        """What the gateway has of its own is changed already."""
        before, self._settings = self._settings, settings
        self._admission.limit = settings.limits.connections
        self._doors.use(self._gateway.entrances.open, sockets)
        if settings.access_log != before.access_log:
            self._log.use(settings.access_log)
            self._gateway.entrances.log_to(self._log.tell)
        if settings.log != before.log:
            setup(settings.log, str(self._slot.index))
        if settings.loop_guard_s != before.loop_guard_s:
            self._guard_loop()

    def reopen(self) -> None:
        """Open the access log anew, after a rotation."""
        self._log.reopen()

    def _drain(self, seconds: float) -> None:
        if self._draining is None:
            self._draining = self._loop.create_task(self._drain_and_end(seconds))

    async def _drain_and_end(self, seconds: float) -> None:
        self._slot.state = WorkerState.DRAINING
        self._doors.shut()
        await asyncio.sleep(0)  # what was just accepted becomes connections
        left = await drain(self._gateway, seconds)
        if left:
            _log.warning("worker %d: %d requests were cut after %g s of draining", self._slot.index, left, seconds)
        await self._gateway.stop()
        self._loop.stop()

    def close(self) -> None:
        """Cut what is open and publish the last counts."""
        if self._guard is not None:
            self._guard.close()
        self._gateway.close()
        self._doors.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._slot.connections = self._count()
        self._log.close()  # first, so that the lines it could not write are counted too
        self._registry.flush(monotonic())

    def __repr__(self) -> str:
        return f"<Worker {self._slot} {self._doors}>"


def run(control: Control) -> int:
    """Serve until told to end; the exit code."""
    try:
        start = control.receive()
        if not isinstance(start, Start):
            return 1
        if start.layout != layout():
            raise ValueError(start.layout)
        settings = fetch_settings(start.settings)
    except Exception:  # whatever a pickle raises that another version made
        control.send(Failed(OTHER_VERSION))
        return 1
    setup(settings.log, str(start.slot))
    sys.stdout = sys.stderr  # what users' code prints must not tear a line of the access log
    sys.setswitchinterval(SWITCH_S)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        look_in(os.path.dirname(settings.path))
        worker = Worker(loop, control, start, settings)
        del settings  # what it does not keep may be large
        loop.run_until_complete(worker.start())
    except (OSError, ValueError, CodeError, ProcessDied) as error:
        control.send(Failed(str(error)))
        return 1
    except Exception as error:
        _log.exception("worker %d cannot start", start.slot)
        control.send(Failed(f"{type(error).__name__}: {error}"))
        return 1
    loop.add_signal_handler(signal.SIGUSR1, worker.reopen)
    worker.watch(sys._getframe())
    loop.run_forever()
    worker.close()
    return 0


def main() -> None:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(each, signal.SIG_IGN)
    faulthandler.enable()
    faulthandler.register(TRACE_SIGNAL, chain=False)
    code = run(Control(socket.socket(fileno=int(sys.argv[1]))))
    # Not sys.exit(): freeing every object takes longer than the kernel takes to free the process.
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
