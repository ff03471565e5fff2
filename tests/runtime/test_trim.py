"""When a worker gives memory back, and that it does."""

import re
import subprocess
import sys
from itertools import pairwise

import pytest

from gateway.runtime.trim import EVERY_S, WORTH_BYTES, Trim, malloc_trim

MIB = 1 << 20


@pytest.mark.parametrize(
    ("held", "times"),
    [
        ([0, 0, 0], 0),
        ([0, WORTH_BYTES, WORTH_BYTES], 0),
        ([0, WORTH_BYTES, 1], 0),
        ([0, WORTH_BYTES, 0, 0], 1),
        ([32 * MIB, 24 * MIB, 16 * MIB, 8 * MIB, 0], 4),
        ([32 * MIB, 28 * MIB, 24 * MIB, 22 * MIB, 16 * MIB], 2),
        ([32 * MIB, 0, 32 * MIB, 0], 2),
    ],
)
def test_it_gives_back_what_is_worth_it(held: list[int], times: int) -> None:
    calls: list[None] = []
    trim = Trim(lambda: calls.append(None))
    for now, each in enumerate(held):
        trim.tick(now * EVERY_S, each)
    assert len(calls) == times


def test_it_gives_back_once_a_second_at_most_and_forgets_nothing() -> None:
    calls: list[float] = []
    now = 0.0
    trim = Trim(lambda: calls.append(now))
    for tick in range(100):
        now = tick * EVERY_S / 16
        trim.tick(now, 32 * MIB * (tick % 2) if tick < 90 else 0)
    assert len(calls) == 7, "the last is of the peak before tick 90"
    assert all(later - earlier >= EVERY_S for earlier, later in pairwise(calls))


def test_where_the_c_library_cannot_nothing_is_called() -> None:
    trim = Trim(None)
    trim.tick(0.0, 32 * MIB)
    trim.tick(1.0, 0)


PROGRAM = """
import pathlib, re
from gateway.runtime.trim import malloc_trim
resident = lambda: int(re.search(r"VmRSS:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) // 1024
freed = b"x" * (1 << 18)
del freed  # from here on pieces of this size are no longer mapped each
before, between = resident(), []
pieces = [b"x" * (1 << 18) for _ in range(128) if not between.append(bytes(600))]
del pieces
print(resident() - before, malloc_trim()() and resident() - before)
"""


def test_holes_of_freed_pieces_are_given_back() -> None:
    """In a fresh process, which has nothing else on its heap."""
    if malloc_trim() is None:
        return
    shown = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    kept, left = map(int, re.findall(r"-?\d+", shown.stdout))
    assert kept > 8
    assert left < 4
