"""Histograms: the request path only notes a value; which bucket it counts in is worked out on the tick."""

from array import array
from bisect import bisect_left, bisect_right
from typing import Final

from gateway.observe.metrics import BUCKETS, HISTOGRAM_WIDTH

_SORTED_FROM: Final = 16
"""Values that are cheaper to sort, and to cut at the bounds, than to look up one by one."""
_NOTED: Final = 256
"""Values kept at the most: to sort these takes some 20 us, where those of a busy half second would hold up the loop."""


class Histogram:
    """Counts per bucket (not cumulative) and a sum, in neighbouring cells; written by `count`."""

    __slots__ = ("_cells", "_first", "_noted", "_values")

    def __init__(self, cells: "array[float]", first: int, noted: "list[Histogram]") -> None:
        """`noted` takes the histograms that have something to count."""
        self._cells = cells
        self._first = first
        self._noted = noted
        self._values: list[float] = []

    def observe(self, value: float) -> None:
        values = self._values
        if not values:
            self._noted.append(self)
        elif len(values) >= _NOTED:
            self.count()
        values.append(value)

    def count(self) -> None:
        """Bring the cells up to date."""
        values, cells, first = self._values, self._cells, self._first
        if len(values) < _SORTED_FROM:
            for value in values:
                cells[first + bisect_left(BUCKETS, value)] += 1.0
        else:
            values.sort()
            below = 0
            for place, bound in enumerate(BUCKETS):
                upto = bisect_right(values, bound)
                cells[first + place] += upto - below
                below = upto
            cells[first + len(BUCKETS)] += len(values) - below
        cells[first + HISTOGRAM_WIDTH - 1] += sum(values)
        values.clear()
