"""How late the loop is."""

from gateway.observe.lag import LagMeter
from gateway.observe.memory import SharedMemory
from gateway.observe.metrics import BUCKETS
from gateway.observe.registry import Registry


def test_lateness_is_counted_and_remembered() -> None:
    slot = SharedMemory.attach(SharedMemory.create(1)).slot(0)
    registry = Registry(slot)
    meter = LagMeter(registry, worker=1)
    for due, ran in ((1.0, 1.3), (2.0, 2.0005), (3.0, 2.999)):
        meter.observe(due, ran)
    registry.flush(0.0)
    ((first, _, name, labels),) = slot.entries()[0]
    assert (name, labels) == ("gateway_event_loop_lag_seconds", ("1",))
    counts = slot.cells[first : first + len(BUCKETS) + 1].tolist()
    assert (counts[0], counts[BUCKETS.index(0.5)], sum(counts)) == (2.0, 1.0, 3.0)
    assert meter.last_s == 0.0
    assert round(meter.worst_s, 6) == 0.3
