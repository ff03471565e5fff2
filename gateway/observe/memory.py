"""Shared memory of the gateway: one slot per worker, written by that worker alone, read by every process.

A slot is a header of named cells, an area of metric cells (doubles), a directory of JSON lines that say which cell
belongs to which series, and a report of what numbers cannot say. The file is sparse: a slot costs only the pages that
were written, so every area has its full size from the start and nothing ever grows or moves. Words of eight aligned
bytes are copied whole, so a reader needs no lock; what it reads is at most one flush old.
"""

import fcntl
import mmap
import os
import zlib
from enum import IntEnum
from typing import Any

from gateway.core.json import loads

HEADER_BYTES = 4096
CELL_COUNT = 1 << 21
"""Two million doubles: 10 000 routes with every status, method and histogram use about 400 000."""
DIRECTORY_BYTES = 32 * 1024 * 1024
"""About 100 bytes a series: room for 300 000."""
REPORT_BYTES = 8 * 1024 * 1024
"""About 500 bytes an upstream that has something to tell: room for 16 000."""
SLOT_BYTES = HEADER_BYTES + CELL_COUNT * 8 + DIRECTORY_BYTES + REPORT_BYTES

HUNG_AFTER_S = 10.0
"""A worker whose heartbeat is older than this serves nobody."""

_WORDS = "pid heartbeat state connections buffered draining used directory degraded report report_sum".split()
_PID, _HEARTBEAT, _STATE, _CONNECTIONS, _BUFFERED, _DRAINING, _USED, _DIRECTORY, _DEGRADED, _REPORT, _REPORT_SUM = (
    range(len(_WORDS))
)
_DEGRADED_BITS = 53
"""A cell is a double: whole up to there."""
_REPORT_TRIES = 3

Entry = tuple[int, int, str, tuple[str, ...]]
"""One series: its first cell, how many cells, the family's name, the label values in the family's order."""


class WorkerState(IntEnum):
    """What the worker of a slot is doing. EMPTY: it was never used; RETIRED: its worker has a successor elsewhere."""

    EMPTY = 0
    STARTING = 1
    SERVING = 2
    DRAINING = 3
    DEAD = 4
    RETIRED = 5


LAYOUT = (HEADER_BYTES, CELL_COUNT, DIRECTORY_BYTES, REPORT_BYTES, *_WORDS, *WorkerState.__members__)
"""What two processes have to agree on before they share a slot."""


class Slot:
    """One worker's part of the shared memory. The properties read and write the header in place."""

    __slots__ = ("_area", "_header", "cells", "directory", "index")

    def __init__(self, index: int, memory: memoryview) -> None:
        self.index = index
        cells_end = HEADER_BYTES + CELL_COUNT * 8
        directory_end = cells_end + DIRECTORY_BYTES
        self._header = memory[:HEADER_BYTES].cast("d")
        self.cells = memory[HEADER_BYTES:cells_end].cast("d")
        self.directory = memory[cells_end:directory_end]
        self._area = memory[directory_end:SLOT_BYTES]

    @property
    def pid(self) -> int:
        return int(self._header[_PID])

    @pid.setter
    def pid(self, value: int) -> None:
        self._header[_PID] = float(value)

    @property
    def heartbeat(self) -> float:
        """Monotonic time (the same in all processes of the machine) of the last flush."""
        return float(self._header[_HEARTBEAT])

    @heartbeat.setter
    def heartbeat(self, value: float) -> None:
        self._header[_HEARTBEAT] = value

    @property
    def state(self) -> WorkerState:
        return WorkerState(int(self._header[_STATE]))

    @state.setter
    def state(self, value: WorkerState) -> None:
        self._header[_STATE] = float(value)

    @property
    def connections(self) -> int:
        """Open client connections."""
        return int(self._header[_CONNECTIONS])

    @connections.setter
    def connections(self, value: int) -> None:
        self._header[_CONNECTIONS] = float(value)

    @property
    def buffered(self) -> int:
        """Bytes of bodies held."""
        return int(self._header[_BUFFERED])

    @buffered.setter
    def buffered(self, value: int) -> None:
        self._header[_BUFFERED] = float(value)

    @property
    def draining(self) -> bool:
        """Set by the supervisor when the gateway drains."""
        return self._header[_DRAINING] != 0.0

    @draining.setter
    def draining(self, value: bool) -> None:
        self._header[_DRAINING] = float(value)

    @property
    def degraded(self) -> list[int]:
        """Executors that do less than they were made for, by their places in the settings."""
        bits = int(self._header[_DEGRADED])
        return [place for place in range(_DEGRADED_BITS) if bits >> place & 1]

    @degraded.setter
    def degraded(self, places: list[int]) -> None:
        self._header[_DEGRADED] = float(sum(1 << place for place in places if place < _DEGRADED_BITS))

    @property
    def report(self) -> bytes:
        """What the worker last wrote of its state; empty where there is nothing, or nothing whole.

        A writer may be at it, or have died at it: its checksum tells.
        """
        for _ in range(_REPORT_TRIES):
            written = bytes(self._area[: int(self._header[_REPORT])])
            if zlib.crc32(written) == int(self._header[_REPORT_SUM]):
                return written
        return b""

    @report.setter
    def report(self, value: bytes) -> None:
        """One that does not fit is not written."""
        kept = value if len(value) <= REPORT_BYTES else b""
        self._area[: len(kept)] = kept
        self._header[_REPORT] = float(len(kept))
        self._header[_REPORT_SUM] = float(zlib.crc32(kept))

    @property
    def used(self) -> int:
        """How many cells were flushed so far."""
        return int(self._header[_USED])

    @used.setter
    def used(self, value: int) -> None:
        self._header[_USED] = float(value)

    @property
    def directory_end(self) -> int:
        return int(self._header[_DIRECTORY])

    def alive(self) -> bool:
        """True while a worker owns the slot: only then do its gauges mean anything."""
        return self.state not in (WorkerState.EMPTY, WorkerState.DEAD, WorkerState.RETIRED)

    @property
    def retired(self) -> bool:
        """True while the slot only keeps what its last worker counted."""
        return self.state is WorkerState.RETIRED

    def serves(self, now: float) -> bool:
        """True if the worker takes requests and its loop turns."""
        return self.state is WorkerState.SERVING and now - self.heartbeat < HUNG_AFTER_S

    def mark_dead(self) -> None:
        """Said by the supervisor when the worker ended: counters stay, what it held is gone."""
        self.state = WorkerState.DEAD
        self.pid = self.connections = self.buffered = 0
        self.degraded = []
        self.report = b""

    def retire(self) -> None:
        """As `mark_dead`, of a worker that nobody misses: the slot is free for another."""
        self.mark_dead()
        self.state = WorkerState.RETIRED

    def append_directory(self, lines: bytes) -> None:
        """Add `lines` and only then publish them, so that a reader or a successor never sees half a line."""
        start = self.directory_end
        end = start + len(lines)
        self.directory[start:end] = lines
        self._header[_DIRECTORY] = float(end)

    def entries(self, start: int = 0) -> tuple[list[Entry], int]:
        """The series published since byte `start` of the directory, and where to go on reading."""
        end = self.directory_end
        lines: list[list[Any]] = [loads(line) for line in bytes(self.directory[start:end]).splitlines()]
        return [(first, width, name, tuple(values)) for first, width, name, values in lines], end

    def __repr__(self) -> str:
        return f"<Slot {self.index} pid={self.pid} {self.state.name.lower()} connections={self.connections}>"


class SharedMemory:
    """The slots of one gateway, mapped from a memory file that the supervisor makes and workers inherit."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        view = memoryview(self._map)
        self.slots = [Slot(i, view[i * SLOT_BYTES : (i + 1) * SLOT_BYTES]) for i in range(len(view) // SLOT_BYTES)]

    @staticmethod
    def create(slots: int) -> int:
        """The descriptor of new memory with empty slots; pass it on with `pass_fds`, it is close-on-exec."""
        fd = os.memfd_create("gateway", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, slots * SLOT_BYTES)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        return fd

    @classmethod
    def attach(cls, fd: int) -> "SharedMemory":
        return cls(fd)

    def slot(self, index: int) -> Slot:
        return self.slots[index]

    def __repr__(self) -> str:
        return f"<SharedMemory fd={self.fd} slots={self.slots}>"
