"""Who holds up the event loop: a thread looks at the loop's stack when the loop is late, and names the code."""

import logging
import sys
import sysconfig
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

from gateway.core.clock import monotonic
from gateway.executors.meter import Metrics
from gateway.executors.work import name_of

QUIET_S: Final = 10.0
"""The same code is named in the log once in so long; it is counted every time."""
NOBODY: Final = "(other threads or processes)"
"""The loop was late without running anything: other threads hold the interpreter, or the machine is busy."""

_GATEWAY: Final = str(Path(__file__).parents[1]) + "/"
_STANDARD: Final = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), "<frozen "})
_INSTALLED: Final = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
_LOOP_MODULES: Final = ("asyncio.", "selectors", "uvloop")

_log: Final = logging.getLogger(__name__)


class LoopGuard:
    """Watches the loop of the thread that it is made on. `beat` is the loop's, the rest a thread's.

    A loop that beats is looked at some ten times a second, and nothing else happens. What holds it up for less than
    `threshold_s` and the time between two beats may pass unseen.
    """

    def __init__(self, metrics: Metrics, *, threshold_s: float, every_s: float, below: FrameType | None = None) -> None:
        """every_s: the time between two beats; below: the frame that runs the loop, whose code is not looked at."""
        self._metrics = metrics
        self._threshold_s = threshold_s
        self._late_after_s = every_s + threshold_s
        self._every_s = every_s
        self._below = below
        self._thread_id = threading.get_ident()
        self._beat = 0.0
        self._blocked: Counter[str] = Counter()
        """Written by the thread; what of it was published is the loop's."""
        self._published: Counter[str] = Counter()
        self._told_at: dict[str, float] = {}
        self._untold: Counter[str] = Counter()
        self._closed = False
        metrics.on_flush(self._publish)

    def start(self) -> None:
        """Begin to watch, with the loop's first beat."""
        self.beat(monotonic())
        threading.Thread(target=self._watch, name="loop-guard", daemon=True).start()

    def beat(self, now: float) -> None:
        """The loop turns."""
        self._beat = now

    def close(self) -> None:
        """Look no more. On the loop."""
        self._closed = True
        self._publish()
        self._metrics.off_flush(self._publish)

    def _watch(self) -> None:
        seen = 0.0
        while not self._closed:
            beat, now = self._beat, monotonic()
            left = beat + self._late_after_s - now
            if left > 0.0:
                time.sleep(left)
            else:
                if beat != seen:
                    seen = beat
                    self._look(now)
                time.sleep(self._every_s)

    def _look(self, now: float) -> None:
        frame = sys._current_frames().get(self._thread_id)
        if frame is None or self._closed:
            return
        found = culprit(frame, self._below)
        code = name_of(found.f_globals.get("__name__", "?"), found.f_code) if found is not None else NOBODY
        self._blocked[code] += 1
        if now - self._told_at.get(code, -QUIET_S) < QUIET_S:
            self._untold[code] += 1
            return
        self._told_at[code] = now
        self._tell(found, code, now - self._beat - self._every_s, self._untold.pop(code, 0))

    def _tell(self, found: FrameType | None, code: str, late_s: float, before: int) -> None:
        again = f" ({before + 1} times since this was last said)" if before else ""
        if found is None:
            _log.warning(
                "the event loop is late by %.0f ms%s though it runs nothing: threads that compute, or a busy machine",
                late_s * 1000,
                again,
            )
            return
        _log.warning(
            "the event loop is held up for more than %.0f ms%s by %s at %s:%d: a plain def on an executor would not",
            late_s * 1000,
            again,
            code,
            found.f_code.co_filename,
            found.f_lineno,
        )

    def _publish(self) -> None:
        """On the loop, whose cells they are: what the thread counted so far."""
        for code, count in self._blocked.copy().items():
            cell = self._metrics.counter("gateway_event_loop_blocked_total", code=code)
            self._metrics.cells[cell] += count - self._published[code]
            self._published[code] = count


def culprit(frame: FrameType, below: FrameType | None = None) -> FrameType | None:
    """The code to blame, of a stack whose innermost frame is `frame`: the innermost of the users' own.

    Failing that, of what is installed, of the gateway, of Python; None where there is nothing above `below` but the
    loop itself.
    """
    frames = []
    above: FrameType | None = frame
    while above is not None and above is not below:
        if not above.f_globals.get("__name__", "").startswith(_LOOP_MODULES):
            frames.append(above)
        above = above.f_back
    return min(frames, key=lambda each: _distance(each.f_code.co_filename), default=None)


def _distance(path: str) -> int:
    """How far the users are from being able to mend a file. Installed packages lie below the standard library."""
    if path.startswith(_GATEWAY):
        return 2
    if path.startswith(_INSTALLED):
        return 1
    return 3 if path.startswith(_STANDARD) else 0
