"""Who takes a new connection."""

import os
from collections.abc import Iterator

import pytest

from gateway.observe.memory import SharedMemory, Slot, WorkerState
from gateway.runtime.admission import FRESH_S, Admission

NOW = 100.0


@pytest.fixture
def slots() -> Iterator[list[Slot]]:
    fd = SharedMemory.create(3)
    slots = SharedMemory(fd).slots
    for slot in slots:
        slot.state = WorkerState.SERVING
        slot.heartbeat = NOW
    yield slots
    os.close(fd)


def admission(slots: list[Slot], own: int, limit: int = 1000) -> Admission:
    return Admission(slots, 0, limit, lambda: own, lambda: NOW)


def test_room_is_what_all_workers_leave_and_is_published(slots: list[Slot]) -> None:
    slots[1].connections, slots[2].connections = 300, 500
    assert admission(slots, 150).room() == 50
    assert admission(slots, 250).room() == -50
    assert slots[0].connections == 250


@pytest.mark.parametrize(
    ("own", "others", "ahead"),
    [
        (0, (0, 0), False),
        (8, (0, 0), False),
        (13, (0, 0), True),
        (110, (100, 100), False),
        (200, (100, 100), True),
        (100, (200, 100), False),
    ],
)
def test_ahead_is_clearly_more_than_the_mean(slots: list[Slot], own: int, others: tuple[int, int], ahead: bool) -> None:
    slots[1].connections, slots[2].connections = others
    assert admission(slots, own).ahead() is ahead


@pytest.mark.parametrize("gone", ["dead", "draining", "silent"])
def test_nobody_waits_for_a_worker_that_does_not_serve(slots: list[Slot], gone: str) -> None:
    for slot in slots[1:]:
        if gone == "dead":
            slot.mark_dead()
        elif gone == "draining":
            slot.state = WorkerState.DRAINING
        else:
            slot.heartbeat = NOW - FRESH_S
    assert not admission(slots, 500).ahead()


def test_a_single_worker_is_never_ahead(slots: list[Slot]) -> None:
    assert not Admission(slots[:1], 0, 10, lambda: 9).ahead()
