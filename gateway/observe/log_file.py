"""Where access log lines go: a file, a pipe or standard output, written by a thread that never holds up the loop.

Promises: `write` costs an append and never waits. The lines waiting are bounded; lines that find no room, or that
the file refuses, are dropped and counted. No worker tears another's line: files are opened for appending and a
write ends with a line; what is no file (a pipe, a terminal, a socket) gets at most PIPE_BUF bytes at once, unless
this worker is its only writer.
"""

import contextlib
import logging
import os
import select
import stat
import threading
import time
from collections import deque

from gateway.observe.registry import Registry

_log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 8 * 1024 * 1024
"""About 20 000 lines: a second of a busy worker."""
_BATCH_BYTES = 64 * 1024
_BUNDLE_LINES = 32
"""Lines joined at once: few enough that their memory is still in the cache and is used again for the next."""
_ROUND_S = 0.1
"""How often the thread looks for lines. It is not woken for each: that would cost the loop a switch."""
_CHECK_S = 1.0
"""How often it looks whether the file was moved away."""
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class AccessLog:
    """Lines in, bytes out. `path` is a file, a named pipe, or `-` for standard output."""

    def __init__(self, path: str, *, sole_writer: bool = False, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self._path = path
        self._max_waiting = max_waiting_bytes
        self._fresh: list[bytes] = []
        """Lines that the thread has not been given; only the loop touches them."""
        self._lines: deque[bytes] = deque()
        """Bundles of whole lines, each no larger than one write may be."""
        # each count has one thread that writes it, so that none needs a lock
        self._bytes_in = self._refused = 0
        self._bytes_out = self._lost = 0
        self._counted = 0
        """Dropped lines that the metric has."""
        self._registry: Registry | None = None
        self._file = _File(path, sole_writer)
        self._batch = b""
        self._fault = ""
        self._dropping = False
        self._told = self._told_before = 0
        self._checked_at = time.monotonic()
        self._reopen = True
        self._stays_open = False
        self._close_by: float | None = None
        self._wake = threading.Event()
        self._follow_path()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    # the loop's side

    def write(self, line: bytes) -> None:
        """Take one line, newline included, for the next `hand_over`. Never waits; drops the line if too much waits."""
        if self._bytes_in - self._bytes_out >= self._max_waiting:
            self._refused += 1
            return
        self._bytes_in += len(line)
        fresh = self._fresh
        fresh.append(line)
        if len(fresh) >= _BUNDLE_LINES:
            self.hand_over()

    def hand_over(self) -> None:
        """Give the thread what was written; to be called on a tick."""
        if not self._fresh:
            return
        lines, self._fresh = self._fresh, []
        if self._file.batch_bytes == _BATCH_BYTES and sum(map(len, lines)) <= _BATCH_BYTES:
            self._lines.append(b"".join(lines))
        else:
            self._lines.extend(lines)

    @property
    def dropped(self) -> int:
        """Lines that will never be written."""
        return self._refused + self._lost

    def count_in(self, registry: Registry) -> None:
        """Keep `gateway_access_log_dropped_total` of `registry` up to date."""
        self._registry = registry
        registry.on_flush(self._count)

    def count_out(self) -> None:
        """It has ended: count the last."""
        if self._registry is not None:
            self._count()
            self._registry.off_flush(self._count)

    def _count(self) -> None:
        if self._registry is not None:
            dropped = self.dropped
            self._registry.cells[self._registry.counter("gateway_access_log_dropped_total")] += dropped - self._counted
            self._counted = dropped

    @property
    def ended(self) -> bool:
        """Whether all was written or given up, after `close`."""
        return not self._thread.is_alive()

    def reopen(self) -> None:
        """Open the path anew, after a rotation; lines that wait go to the new file."""
        self._reopen = True
        self._wake.set()

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, for at most `timeout_s`; lines left then are dropped and counted."""
        self.hand_over()
        self._close_by = time.monotonic() + timeout_s
        self._wake.set()
        self._thread.join(timeout_s + _ROUND_S)

    def stats(self) -> dict[str, int]:
        return {"waiting_bytes": self._bytes_in - self._bytes_out, "dropped": self.dropped}

    def __repr__(self) -> str:
        return f"<AccessLog {self._path} {self.stats()}>"

    # the thread's side

    def _run(self) -> None:
        while self._close_by is None:
            self._wake.wait(_ROUND_S)
            self._wake.clear()
            self._round()
        while (self._lines or self._batch) and time.monotonic() < self._close_by:
            self._round()
        self._drop()
        self._tell()
        self._file.close()

    def _round(self) -> None:
        self._follow_path()
        while (self._lines or self._batch) and self._write_batch():
            pass
        self._tell()

    def _follow_path(self) -> None:
        """Open the file if it is not open, was moved, or someone asked."""
        now = time.monotonic()
        if now - self._checked_at >= _CHECK_S:
            self._checked_at = now
            self._reopen = self._reopen or self._file.moved()
        if not (self._reopen or self._file.fd < 0):
            return
        try:
            self._file.open()
        except OSError as error:
            self._cannot_open(error)
        else:
            self._reopen = self._stays_open = False
            self._skip_torn_line()

    def _cannot_open(self, error: OSError) -> None:
        if self._file.fd < 0:
            self._fault = f"cannot open: {error.strerror}"
            self._drop()
        elif not self._stays_open:
            self._stays_open = True
            _log.warning("access log %s: cannot open: %s; the old file is kept", self._path, error.strerror)

    def _write_batch(self) -> bool:
        """Write once; False when the rest has to wait for the next round."""
        if self._file.fd < 0:
            return False
        self._batch = self._batch or self._take()
        try:
            written = self._file.write(self._batch)
        except OSError as error:
            self._fault = f"cannot write: {error.strerror}"
            self._drop()
            return False
        if written:
            self._fault = ""
            self._batch = self._batch[written:]
            self._bytes_out += written
        return written > 0

    def _take(self) -> bytes:
        """Whole lines for one write."""
        lines = self._lines
        taken = [lines.popleft()]
        size = len(taken[0])
        while lines and size + len(lines[0]) <= self._file.batch_bytes:
            line = lines.popleft()
            size += len(line)
            taken.append(line)
        return b"".join(taken)

    def _drop(self) -> None:
        """Give up all that waits: what cannot be written now is not kept for later."""
        self._file.give_up_line()
        self._lost += self._batch.count(b"\n")
        self._bytes_out += len(self._batch)
        self._batch = b""
        with contextlib.suppress(IndexError):
            while True:
                bundle = self._lines.popleft()
                self._bytes_out += len(bundle)
                self._lost += bundle.count(b"\n")

    def _skip_torn_line(self) -> None:
        """A new file does not begin with the rest of a line."""
        if self._file.mid_line:
            self._file.mid_line = False
            end = self._batch.index(b"\n") + 1
            self._bytes_out += end
            self._lost += 1
            self._batch = self._batch[end:]

    def _tell(self) -> None:
        """One warning when lines begin to be dropped, one when they are written again."""
        dropped, told = self.dropped, self._told
        self._told = dropped
        if self._dropping:
            waiting = self._bytes_in - self._bytes_out
            if dropped == told and not self._fault and waiting < self._max_waiting // 2:
                self._dropping = False
                _log.warning(
                    "access log %s: written again, %d lines were lost", self._path, dropped - self._told_before
                )
        elif dropped > told or self._fault:
            self._dropping = True
            self._told_before = told
            why = self._fault or "it does not keep up"
            _log.warning("access log %s: %s; lines are dropped and counted until it works", self._path, why)


class _File:
    """The open file: what it is decides how much may be written at once."""

    def __init__(self, path: str, sole_writer: bool) -> None:
        self.fd = -1
        self.batch_bytes = _BATCH_BYTES
        self.mid_line = False
        """True after a write that ended inside a line."""
        self._torn = False
        self._path = path
        self._sole_writer = sole_writer
        self._is_regular = True
        self._poll = select.poll()

    def open(self) -> None:
        """Open the path and only then close what was open. Raises OSError."""
        fd, own = self._open_path()
        self.close()
        self.fd = fd
        self._torn = False
        self._is_regular = stat.S_ISREG(os.fstat(fd).st_mode)
        whole = self._is_regular or (own and self._sole_writer)
        self.batch_bytes = _BATCH_BYTES if whole else select.PIPE_BUF
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def _open_path(self) -> tuple[int, bool]:
        """The descriptor, and whether it is of our own opening and so does not block."""
        if self._path != "-":
            return os.open(self._path, _FLAGS, 0o640), True
        if stat.S_ISREG(os.fstat(1).st_mode):  # its position is shared with standard error in `>file 2>&1`
            return os.dup(1), False
        try:  # a description of our own: O_NONBLOCK on the inherited one would change it for others too
            return os.open("/proc/self/fd/1", _FLAGS & ~os.O_CREAT), True
        except OSError:  # a socket, or a pipe of another user
            return os.dup(1), False

    def moved(self) -> bool:
        """True if the path no longer leads to the open file."""
        if self._path == "-" or self.fd < 0 or not self._is_regular:
            return False
        try:
            there = os.stat(self._path)
        except OSError:
            return True
        mine = os.fstat(self.fd)
        return (there.st_ino, there.st_dev) != (mine.st_ino, mine.st_dev)

    def write(self, batch: bytes) -> int:
        """Bytes written; 0 if there was no room within a round. Raises OSError."""
        if not self._is_regular and not self._poll.poll(_ROUND_S * 1000):
            return 0
        data = b"\n" + batch if self._torn else batch
        try:
            written = os.write(self.fd, data)
        except BlockingIOError:
            return 0
        self.mid_line = data[written - 1 : written] != b"\n"
        written -= self._torn
        self._torn = False
        return written

    def give_up_line(self) -> None:
        """The rest of the line begun will not come: end it before the next one."""
        self._torn = self._torn or self.mid_line
        self.mid_line = False

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
