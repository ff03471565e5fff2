"""Starting a worker: a fresh interpreter by exec (never a fork of a process that has threads)."""

import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.core.clock import monotonic
from gateway.core.interpreter import command, environment
from gateway.runtime.control import Control, Start
from gateway.runtime.layout import layout

WORKER = "gateway.runtime.worker"
ENVIRONMENT = {"MALLOC_ARENA_MAX": "2"}
"""glibc makes eight arenas a core, one for each thread that allocates; none of them gives memory back.
Its mmap threshold stays as it is: with a fixed one each read of a large body is mapped and faulted in anew, and 1 MiB
costs twice the CPU (`tests/bench/compare --load download,upload`). `trim.py` gives memory back instead.
"""
_SIGNALS = {each.value: each.name for each in signal.Signals}
"""Real-time signals have no names of their own."""


@dataclass(slots=True, eq=False)
class Process:
    """A running worker, as the supervisor sees it."""

    popen: "subprocess.Popen[bytes]"
    control: Control
    started_at: float = field(default_factory=monotonic)
    ready: bool = False
    hung: bool = False
    failure: str = ""
    """What the worker said before it ended."""

    @property
    def pid(self) -> int:
        return self.popen.pid

    def end(self) -> str | None:
        """How it ended (`exit code 1`, `SIGKILL`); None while it runs."""
        code = self.popen.poll()
        if code is None:
            return None
        return f"exit code {code}" if code >= 0 else _SIGNALS.get(-code, f"signal {-code}")


class Launcher:
    """Starts workers that inherit the listening sockets, the shared memory and the settings."""

    def __init__(
        self,
        *,
        slots: int,
        settings: int,
        memory: int,
        sockets: Sequence[int],
        module: str = WORKER,
    ) -> None:
        self._layout = layout()
        self._slots = slots
        self._settings = settings
        self._memory = memory
        self._sockets = tuple(sockets)
        self._module = module

    def use(self, settings: int, sockets: Sequence[int]) -> int:
        """Workers started from now on get these descriptors; returns that of the settings of before."""
        before, self._settings = self._settings, settings
        self._sockets = tuple(sockets)
        return before

    def __call__(self, slot: int) -> Process:
        """Start the worker of `slot`. Raises OSError."""
        control, theirs = Control.pair()
        with theirs:
            # Own process group: the keys of a terminal reach the supervisor alone.
            popen = subprocess.Popen(
                command(self._module, str(theirs.fileno())),
                pass_fds=(theirs.fileno(), self._settings, self._memory, *self._sockets),
                stdin=subprocess.DEVNULL,
                env=environment(ENVIRONMENT),
                process_group=0,
            )
        control.send(Start(self._layout, slot, self._slots, self._settings, self._memory, self._sockets))
        return Process(popen, control)
