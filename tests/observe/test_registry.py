"""Cells by name and labels, published to shared memory, taken over by the next worker."""

import math
import os
import random
import subprocess
import sys
import time
from bisect import bisect_left
from collections import Counter

import pytest

from gateway.observe import registry as registry_module
from gateway.observe.memory import CELL_COUNT, SharedMemory, Slot, WorkerState
from gateway.observe.metrics import BUCKETS, FAMILIES, HISTOGRAM_WIDTH
from gateway.observe.registry import Registry

BYTES = "gateway_http_request_bytes_total"
IN_FLIGHT = "gateway_http_requests_in_flight"
DURATION = "gateway_http_request_duration_seconds"


@pytest.fixture
def slot() -> Slot:
    return SharedMemory.attach(SharedMemory.create(2)).slot(0)


def test_same_name_and_labels_give_the_same_cell() -> None:
    registry = Registry()
    first = registry.counter(BYTES, route="a")
    assert registry.counter(BYTES, route="a") == first
    assert registry.counter(BYTES, route="b") != first
    assert registry.histogram(DURATION, route="a") is registry.histogram(DURATION, route="a")


def test_label_order_does_not_matter() -> None:
    registry = Registry()
    first = registry.counter("gateway_responses_generated_total", route="a", reason="no_route")
    assert registry.counter("gateway_responses_generated_total", reason="no_route", route="a") == first


@pytest.mark.parametrize(
    ("kind", "name", "labels", "message"),
    [
        ("counter", "gateway_typo_total", {}, "no metric 'gateway_typo_total'"),
        ("gauge", BYTES, {"route": "a"}, "is a counter, not a gauge"),
        ("counter", BYTES, {}, "needs the label 'route'"),
        ("counter", BYTES, {"route": "a", "path": "/x"}, "has the labels"),
    ],
)
def test_what_the_table_does_not_know_is_refused(kind: str, name: str, labels: dict[str, str], message: str) -> None:
    with pytest.raises(KeyError, match=message):
        getattr(Registry(), kind)(name, **labels)


@pytest.mark.parametrize("value", [0.0, 0.001, 0.0010001, 0.3, 10.0, 11.0, math.inf])
def test_a_value_falls_into_the_bucket_that_includes_it(value: float) -> None:
    registry = Registry()
    histogram = registry.histogram(DURATION, route="a")
    first = registry.counter(BYTES, route="next") - HISTOGRAM_WIDTH
    histogram.observe(value)
    registry.flush(0.0)
    counts = registry.cells[first : first + HISTOGRAM_WIDTH - 1]
    bucket = next((i for i, bound in enumerate(BUCKETS) if value <= bound), len(BUCKETS))
    assert list(counts) == [float(i == bucket) for i in range(len(counts))]
    assert registry.cells[first + HISTOGRAM_WIDTH - 1] == value


@pytest.mark.parametrize("times", [1, 2, 15, 16, 17, 1000])
def test_many_values_between_two_flushes_count_as_one_by_one(times: int) -> None:
    registry = Registry()
    histogram = registry.histogram(DURATION, route="a")
    first = registry.counter(BYTES, route="next") - HISTOGRAM_WIDTH
    rng = random.Random(times)
    values = [rng.choice([*BUCKETS, rng.expovariate(1.0), 11.0]) for _ in range(times)]
    for half in (values[: times // 2], values[times // 2 :]):
        for value in half:
            histogram.observe(value)
        registry.flush(0.0)
    places = Counter(bisect_left(BUCKETS, value) for value in values)
    assert list(registry.cells[first:][: HISTOGRAM_WIDTH - 1]) == [places[i] for i in range(HISTOGRAM_WIDTH - 1)]
    assert registry.cells[first + HISTOGRAM_WIDTH - 1] == pytest.approx(sum(values))


def test_nothing_is_published_before_the_flush(slot: Slot) -> None:
    registry = Registry(slot)
    index = registry.counter(BYTES, route="a")
    registry.cells[index] += 5
    assert slot.entries()[0] == []
    registry.flush(now=12.5)
    assert slot.entries()[0] == [(index, 1, BYTES, ("a",))]
    assert slot.cells[index] == 5
    assert slot.heartbeat == 12.5
    assert slot.pid > 0


def test_entries_are_read_from_where_the_last_reading_ended(slot: Slot) -> None:
    registry = Registry(slot)
    registry.counter(BYTES, route="a")
    registry.flush(0.0)
    end = slot.entries()[1]
    registry.counter(BYTES, route='quote " and \n line')
    registry.flush(0.0)
    assert [entry[3] for entry in slot.entries(end)[0]] == [('quote " and \n line',)]


def test_callbacks_set_gauges_ahead_of_the_copy(slot: Slot) -> None:
    registry = Registry(slot)
    index = registry.gauge(IN_FLIGHT, route="a")
    registry.on_flush(lambda: registry.cells.__setitem__(index, 7.0))
    registry.flush(0.0)
    assert slot.cells[index] == 7.0


def test_a_failing_callback_loses_neither_counts_nor_heartbeat(slot: Slot) -> None:
    registry = Registry(slot)
    index = registry.counter(BYTES, route="a")
    registry.cells[index] += 1
    registry.on_flush(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        registry.flush(3.0)
    assert slot.cells[index] == 1.0
    assert slot.heartbeat == 3.0


def test_a_successor_keeps_counters_and_resets_gauges(slot: Slot) -> None:
    registry = Registry(slot)
    counter, gauge = registry.counter(BYTES, route="a"), registry.gauge(IN_FLIGHT, route="a")
    histogram = registry.histogram(DURATION, route="a")
    registry.cells[counter] += 41
    registry.cells[gauge] += 3
    histogram.observe(0.2)
    registry.flush(0.0)
    before = slot.cells[: slot.used].tolist()

    successor = Registry(slot)
    assert successor.counter(BYTES, route="a") == counter
    successor.cells[counter] += 1
    new = successor.counter(BYTES, route="b")
    successor.flush(1.0)
    assert slot.cells[counter] == 42
    assert slot.cells[gauge] == 0
    assert slot.cells[counter + 2 : gauge + 1 + HISTOGRAM_WIDTH].tolist() == before[counter + 2 :]
    assert new == slot.used - 1
    assert [entry[3] for entry in slot.entries()[0]].count(("b",)) == 1


def test_lines_of_an_unknown_family_are_left_alone(slot: Slot) -> None:
    slot.append_directory(b'[16,1,"gateway_of_another_version_total",["a"]]\n')
    slot.used = 17
    registry = Registry(slot)
    assert registry.counter(BYTES, route="a") == 17


def test_series_beyond_the_capacity_cost_no_request(
    slot: Slot, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "CELL_COUNT", HISTOGRAM_WIDTH + 1)
    registry = Registry(slot)
    kept = registry.counter(BYTES, route="a")
    for route in ("b", "c"):
        registry.cells[registry.counter(BYTES, route=route)] += 1
        registry.histogram(DURATION, route=route).observe(0.1)
    registry.flush(0.0)
    assert registry.cells[kept] == 0
    assert len(slot.entries()[0]) == 1
    assert caplog.text.count("no room for more metric series") == 1


def test_a_flush_of_20_000_series_is_well_under_a_millisecond(slot: Slot) -> None:
    registry = Registry(slot)
    for i in range(20_000):
        registry.counter(BYTES, route=f"route-{i}")
    registry.flush(0.0)
    times = []
    for _ in range(50):
        began = time.perf_counter()
        registry.flush(0.0)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.0005


def test_another_process_reads_and_writes_the_same_slots() -> None:
    fd = SharedMemory.create(2)
    memory = SharedMemory.attach(fd)
    script = (
        "import sys; from gateway.observe.memory import SharedMemory, WorkerState\n"
        "from gateway.observe.registry import Registry\n"
        "slot = SharedMemory.attach(int(sys.argv[1])).slot(1)\n"
        f"registry = Registry(slot); i = registry.counter('{BYTES}', route='a'); registry.cells[i] += 3\n"
        "slot.state = WorkerState.SERVING; slot.connections = 9; slot.buffered = 11; registry.flush(100.0)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(fd)], pass_fds=[fd], check=True)
    slot = memory.slot(1)
    ((index, _, _, values),) = slot.entries()[0]
    assert (slot.cells[index], values) == (3.0, ("a",))
    assert (slot.connections, slot.buffered, slot.draining) == (9, 11, False)
    assert slot.serves(now=105.0)
    assert not slot.serves(now=111.0)
    slot.mark_dead()
    assert (slot.pid, slot.state, slot.connections) == (0, WorkerState.DEAD, 0)
    assert not slot.alive()


def test_the_memory_is_sparse() -> None:
    with open(SharedMemory.create(64), "rb") as file:
        assert os.fstat(file.fileno()).st_blocks == 0
        assert os.fstat(file.fileno()).st_size > 64 * CELL_COUNT * 8


def test_the_table_follows_the_naming_rules() -> None:
    for name, family in FAMILIES.items():
        assert name.startswith("gateway_")
        assert name.endswith("_total") == (family.kind == "counter")
        assert family.help.endswith(".")


def test_a_histogram_keeps_few_values_however_many_it_is_given(slot: Slot) -> None:
    registry = Registry(slot)
    histogram = registry.histogram("gateway_http_request_duration_seconds", route="r")
    for number in range(10_000):
        histogram.observe(number % 20)
    assert sum(registry.cells) > 9_000  # counted before any tick, but for the last few
    registry.flush(1.0)
    # buckets and sum are the only cells that are not zero
    assert sum(registry.cells) == 10_000 + sum(number % 20 for number in range(10_000))
