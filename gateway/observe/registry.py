"""Metrics of one worker: plain cells, copied to shared memory on a tick.

The request path does `cells[i] += 1.0` with an index resolved before, or notes a value for a histogram; everything
else (names, labels, gauges, buckets, exposition) happens at registration, on the tick, or in the supervisor.
"""

import logging
import os
import threading
from array import array
from collections.abc import Callable

from gateway.core.json import dumps
from gateway.observe.histogram import Histogram
from gateway.observe.memory import CELL_COUNT, DIRECTORY_BYTES, Slot
from gateway.observe.metrics import FAMILIES, HISTOGRAM_WIDTH, Family, Kind, family

_log = logging.getLogger(__name__)

_SCRATCH = HISTOGRAM_WIDTH
"""The first cells belong to no series: series beyond the capacity count there and are not shown."""


class Registry:
    """Hands out cells by name and labels; the same name and labels always give the same cell.

    With a slot that a predecessor wrote, its counters are taken over and its gauges start at zero. Without a
    slot the cells only live here. Belongs to the loop thread, but any may ask for cells and callbacks.
    """

    def __init__(self, slot: Slot | None = None) -> None:
        self.cells: array[float] = array("d", bytes(8 * _SCRATCH))
        """Never replaced, so that its users may keep it."""
        self._slot = slot
        self._index: dict[tuple[str, tuple[str, ...]], int] = {}
        self._histograms: dict[int, Histogram] = {}
        self._noted: list[Histogram] = []
        self._new_lines: list[bytes] = []
        self._directory_bytes = 0
        self._callbacks: tuple[Callable[[], None], ...] = ()
        self._lock = threading.Lock()
        """A config is built beside the loop, and its parts ask for cells and callbacks, too."""
        self._full = False
        if slot is not None:
            self._adopt(slot)

    # Not `name`: that is a label of some families, and compiled code takes it for the parameter in spite of the `/`.

    def counter(self, metric: str, /, **labels: str) -> int:
        """Index of the counter's cell."""
        return self._resolve(metric, "counter", labels)

    def gauge(self, metric: str, /, **labels: str) -> int:
        """Index of the gauge's cell."""
        return self._resolve(metric, "gauge", labels)

    def histogram(self, metric: str, /, **labels: str) -> Histogram:
        first = self._resolve(metric, "histogram", labels)
        found = self._histograms.get(first)
        if found is None:
            found = self._histograms[first] = Histogram(self.cells, first, self._noted)
        return found

    def on_flush(self, callback: Callable[[], None]) -> None:
        """Call `callback` ahead of every flush, to set gauges that are cheaper to read than to keep."""
        with self._lock:
            self._callbacks = (*self._callbacks, callback)

    def off_flush(self, callback: Callable[[], None]) -> None:
        """No longer call it."""
        with self._lock:
            self._callbacks = tuple(each for each in self._callbacks if each != callback)

    def flush(self, now: float) -> None:
        """Say that the worker lives and publish all cells; `now` is monotonic. A bad callback loses no counts."""
        slot = self._slot
        if slot is not None:
            slot.pid = os.getpid()
            slot.heartbeat = now
        for histogram in self._noted:
            histogram.count()
        self._noted.clear()
        try:
            for callback in self._callbacks:
                callback()
        finally:
            if slot is not None:
                self._publish(slot)

    def _publish(self, slot: Slot) -> None:
        with self._lock:  # a config being built adds cells
            used = len(self.cells)
            slot.cells[:used] = self.cells
            slot.used = used
            lines, self._new_lines = self._new_lines, []
        if lines:
            slot.append_directory(b"".join(lines))

    def _resolve(self, name: str, kind: Kind, labels: dict[str, str]) -> int:
        found = family(name, kind)
        try:
            values = tuple([str(labels[label]) for label in found.labels])
        except KeyError as missing:
            raise KeyError(f"{name} needs the label {missing}") from None
        if len(labels) != len(values):
            raise KeyError(f"{name} has the labels {found.labels}, not {tuple(labels)}")
        index = self._index.get((name, values))
        if index is not None:
            return index
        with self._lock:
            index = self._index.get((name, values))
            return self._add(found, values) if index is None else index

    def _add(self, found: Family, values: tuple[str, ...]) -> int:
        first = len(self.cells)
        line = dumps([first, found.width, found.name, values]) + b"\n"
        if not self._fits(found.width, len(line)):
            return 0
        self.cells.frombytes(bytes(8 * found.width))
        self._directory_bytes += len(line)
        self._new_lines.append(line)
        self._index[found.name, values] = first
        return first

    def _fits(self, width: int, line_bytes: int) -> bool:
        fits = len(self.cells) + width <= CELL_COUNT and self._directory_bytes + line_bytes <= DIRECTORY_BYTES
        if not fits and not self._full:
            self._full = True
            _log.warning("no room for more metric series: new ones are not counted; have fewer routes or targets")
        return fits

    def _adopt(self, slot: Slot) -> None:
        if slot.used < _SCRATCH:
            return
        del self.cells[:]
        self.cells.frombytes(slot.cells[: slot.used].tobytes())
        entries, self._directory_bytes = slot.entries()
        for first, width, name, values in entries:
            known = FAMILIES.get(name)
            if known is None or known.width != width or len(known.labels) != len(values):
                continue
            self._index[name, values] = first
            if known.kind == "gauge":
                self.cells[first] = 0.0

    def __repr__(self) -> str:
        return f"<Registry series={len(self._index)} cells={len(self.cells)} slot={self._slot}>"
