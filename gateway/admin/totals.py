"""Sums over the slots of all workers: what the metrics and the status page show."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.observe.memory import Slot
from gateway.observe.metrics import BUCKETS, FAMILIES

Labels = tuple[str, ...]
_Place = tuple[int, int]
"""Slot and first cell of a series there."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram: counts per bucket (not cumulative, +Inf last) and the sum of the values."""

    buckets: tuple[float, ...]
    sum: float

    @property
    def count(self) -> float:
        return sum(self.buckets)

    def quantile(self, share: float) -> float | None:
        """The value below which `share` of the values lie, interpolated in its bucket; None without values."""
        rank, lower = share * self.count, 0.0
        if not self.count:
            return None
        for bound, count in zip(BUCKETS, self.buckets, strict=False):
            if rank <= count and count:
                return lower + (bound - lower) * rank / count
            rank -= count
            lower = bound
        return BUCKETS[-1]


class Totals:
    """Follows the directories of the slots; each is read only from where the last reading ended."""

    def __init__(self) -> None:
        self._places: dict[str, dict[Labels, list[_Place]]] = {name: {} for name in FAMILIES}
        self._read_to: dict[int, int] = {}

    def read(self, slots: Iterable[Slot]) -> "Reading":
        """The cells of all slots as they are now."""
        cells: dict[int, array[float]] = {}
        alive: set[int] = set()
        for slot in slots:
            self._follow(slot)
            cells[slot.index] = array("d", slot.cells[: slot.used].tobytes())
            if slot.alive():
                alive.add(slot.index)
        return Reading(self._places, cells, alive)

    def _follow(self, slot: Slot) -> None:
        entries, self._read_to[slot.index] = slot.entries(self._read_to.get(slot.index, 0))
        for first, width, name, labels in entries:
            family = FAMILIES.get(name)
            if family is not None and family.width == width and len(family.labels) == len(labels):
                self._places[name].setdefault(labels, []).append((slot.index, first))


class Reading:
    """One moment of all cells, by family."""

    def __init__(
        self,
        places: dict[str, dict[Labels, list[_Place]]],
        cells: "dict[int, array[float]]",
        alive: set[int],
    ) -> None:
        self._places = places
        self._cells = cells
        self._alive = alive

    def values(self, name: str) -> Iterator[tuple[Labels, float]]:
        """Labels and value of every series of a counter or gauge. A dead worker's gauges do not count."""
        family, cells = FAMILIES[name], self._cells
        slots: Iterable[int] = self._alive if family.kind == "gauge" else cells.keys()
        merge = max if family.merge == "max" else sum
        for labels, places in self._places[name].items():
            found = [cells[slot][first] for slot, first in places if slot in slots]
            if found and ((value := merge(found)) or family.zero):
                yield labels, value

    def distributions(self, name: str) -> Iterator[tuple[Labels, Distribution]]:
        """Labels and values of every series of a histogram."""
        width = FAMILIES[name].width
        for labels, places in self._places[name].items():
            found = [self._cells[slot][first : first + width] for slot, first in places if slot in self._cells]
            if found:
                yield labels, _merged(found)


def _merged(found: "Sequence[Sequence[float]]") -> Distribution:
    cells = found[0] if len(found) == 1 else [sum(column) for column in zip(*found, strict=True)]
    return Distribution(tuple(cells[:-1]), cells[-1])
