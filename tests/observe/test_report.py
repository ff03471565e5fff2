"""What a worker writes of itself arrives whole or not at all."""

import threading

import pytest

from gateway.observe.memory import REPORT_BYTES, SharedMemory, Slot, WorkerState


@pytest.fixture
def slot() -> Slot:
    slot = SharedMemory.attach(SharedMemory.create(1)).slot(0)
    slot.state = WorkerState.SERVING
    return slot


def test_what_is_written_is_read_and_the_last_holds(slot: Slot) -> None:
    assert slot.report == b""
    for text in (b"a long one" * 1000, b"a short one", b"x" * REPORT_BYTES):
        slot.report = text
        assert slot.report == text


def test_what_does_not_fit_is_not_written(slot: Slot) -> None:
    slot.report = b"before"
    slot.report = b"x" * (REPORT_BYTES + 1)
    assert slot.report == b""


def test_a_dead_worker_reports_nothing(slot: Slot) -> None:
    slot.report = b"before"
    slot.mark_dead()
    assert slot.report == b""


def test_a_half_written_one_is_not_read(slot: Slot) -> None:
    slot.report = b"whole"
    slot._area[:3] = b"torn"[:3]
    assert slot.report == b""


def test_a_reader_beside_a_writer_reads_whole_ones_only(slot: Slot) -> None:
    texts = {bytes([letter]) * size for letter, size in ((65, 10), (66, 100_000), (67, 30_000))}
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            for text in texts:
                slot.report = text

    writer = threading.Thread(target=write)
    writer.start()
    try:
        read = {slot.report for _ in range(2000)}
    finally:
        ended.set()
        writer.join()
    assert read <= texts | {b""}
    assert read & texts
