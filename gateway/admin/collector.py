"""The one door to prometheus-client: totals of all workers in Prometheus text or OpenMetrics.

A scrape of 20 000 series costs 0.2 to 0.3 s of CPU, on a core that a worker may need for a request. So rendering
pauses every few samples: a worker then waits for one burst at most, whatever the number of series.
"""

import os
import platform
import time
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Sample

from gateway import __version__
from gateway.admin.processes import ProcessMeter
from gateway.admin.state import AdminState
from gateway.admin.totals import Distribution, Reading, Totals
from gateway.observe.metrics import BUCKETS, FAMILIES, Family

_LE = (*(str(bound) for bound in BUCKETS), "+Inf")

BURST_SAMPLES = 64
"""Samples rendered without a pause: about 1 ms."""
PAUSE_S = 0.0005

_Values = list[tuple[tuple[str, ...], float]]
"""Label values and value of each series of one family."""


class Metrics:
    """Renders `/metrics`."""

    def __init__(self, state: AdminState, totals: Totals) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(GatewayCollector(state, totals))

    def render(self, accept: str) -> tuple[bytes, str]:
        """The body and its content type, as the client's Accept field wants it. Takes its time."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class GatewayCollector(Collector):
    """Cells of the workers, and what only the supervisor knows."""

    def __init__(self, state: AdminState, totals: Totals) -> None:
        self._state = state
        self._totals = totals
        self._processes = ProcessMeter()

    def describe(self) -> Iterable[Metric]:
        return ()  # nothing is registered twice here

    def collect(self) -> Iterator[Metric]:
        reading = self._totals.read(self._state.slots)
        own = self._own()
        for name, family in FAMILIES.items():
            metric = Metric(name.removesuffix("_total"), family.help, family.kind)
            samples = iter(own[name]) if name in own else _samples(family, reading)
            first = next(samples, None)
            if first is not None:
                metric.samples = _paced(chain((first,), samples))  # type: ignore[assignment]  # read once
                yield metric

    def _own(self) -> dict[str, list[Sample]]:
        state, now = self._state, time.monotonic()
        up: _Values = [((str(slot.index),), float(slot.serves(now))) for slot in state.slots if not slot.retired]
        own: dict[str, _Values] = {
            "gateway_worker_up": up,
            "gateway_worker_restarts_total": [((reason,), n) for reason, n in state.restarts.items()],
            "gateway_upstream_health_checks_total": [(labels, n) for labels, n in dict(state.check_counts).items()],
            "gateway_config_reloads_total": [((result,), n) for result, n in state.reloads.counts.items()],
            "gateway_config_last_reload_successful": [((), float(state.reloads.successful))],
            "gateway_config_last_reload_success_timestamp_seconds": [((), state.reloads.at)],
            "gateway_draining": [((), float(state.draining))],
            "gateway_build_info": [((__version__, platform.python_version()), 1.0)],
            **self._process_values(),
        }
        return {name: [_sample(FAMILIES[name], *value) for value in values] for name, values in own.items()}

    def _process_values(self) -> dict[str, _Values]:
        pids = {"supervisor": os.getpid()} | {str(slot.index): slot.pid for slot in self._state.slots}
        stats = {place: self._processes.read(place, pid) for place, pid in pids.items()}
        return {
            "gateway_process_cpu_seconds_total": [((p,), s.cpu_s) for p, s in stats.items()],
            "gateway_process_resident_memory_bytes": [
                ((p,), s.resident_bytes) for p, s in stats.items() if s.resident_bytes is not None
            ],
            "gateway_process_open_fds": [((p,), s.open_fds) for p, s in stats.items() if s.open_fds is not None],
        }


def _paced(samples: Iterator[Sample]) -> Iterator[Sample]:
    while burst := list(islice(samples, BURST_SAMPLES)):
        yield from burst
        if len(burst) == BURST_SAMPLES:
            time.sleep(PAUSE_S)


def _samples(family: Family, reading: Reading) -> Iterator[Sample]:
    if family.kind != "histogram":
        for labels, value in reading.values(family.name):
            yield _sample(family, labels, value)
        return
    for labels, distribution in reading.distributions(family.name):
        yield from _histogram_samples(family, dict(zip(family.labels, labels, strict=True)), distribution)


def _sample(family: Family, labels: tuple[str, ...], value: float) -> Sample:
    return Sample(family.name, dict(zip(family.labels, labels, strict=True)), value)


def _histogram_samples(family: Family, labels: dict[str, str], found: Distribution) -> Iterator[Sample]:
    bucket, so_far = family.name + "_bucket", 0.0
    for le, count in zip(_LE, found.buckets, strict=True):
        so_far += count
        yield Sample(bucket, {**labels, "le": le}, so_far)
    yield Sample(family.name + "_count", labels, so_far)
    yield Sample(family.name + "_sum", labels, found.sum)
