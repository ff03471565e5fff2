"""`/metrics`: totals that never go backwards, in both formats, clean by promtool."""

import math
import os
import re
import subprocess
import sys
import time
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway import __version__
from gateway.admin.collector import Metrics
from gateway.admin.processes import ProcessMeter
from gateway.admin.totals import Distribution, Totals
from gateway.observe.memory import SharedMemory, WorkerState
from gateway.observe.metrics import BUCKETS, FAMILIES
from gateway.observe.registry import Registry

REQUESTS = "gateway_http_requests_total"
GET_200 = {"route": "a", "method": "GET", "code": "200", "source": "upstream"}
OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3"


def values(facts: Any, name: str, metrics: Metrics | None = None) -> dict[tuple[str, ...], float]:
    """Samples of that exact name, by label values in the order of the label names."""
    body, _ = (metrics or Metrics(facts, Totals())).render("")
    return {
        tuple(sample.labels.values()): sample.value
        for family in parse_text(body.decode())
        for sample in family.samples
        if sample.name == name
    }


def fill(registry: Registry) -> None:
    """Every family that a worker may write, twice, with awkward labels."""
    for family in FAMILIES.values():
        for text in ("plain", 'quote " back\\slash\nline é'):
            labels = dict.fromkeys(family.labels, text)
            if family.kind == "histogram":
                registry.histogram(family.name, **labels).observe(0.3)
            else:
                registry.cells[getattr(registry, family.kind)(family.name, **labels)] = 1.5
    registry.flush(time.monotonic())


def test_counters_and_histograms_add_up_over_workers(facts: Any, workers: list[Registry]) -> None:
    for n, worker in enumerate(workers, start=1):
        worker.cells[worker.counter(REQUESTS, **GET_200)] += n
        for value in (0.001, 0.002, 20.0):
            worker.histogram("gateway_http_request_duration_seconds", route="a").observe(value)
        worker.flush(time.monotonic())
    assert values(facts, REQUESTS) == {("200", "GET", "a", "upstream"): 3.0}
    buckets = values(facts, "gateway_http_request_duration_seconds_bucket")
    assert buckets["0.001", "a"] == 2
    assert buckets["0.0025", "a"] == buckets["10.0", "a"] == 4
    assert buckets["+Inf", "a"] == 6
    assert values(facts, "gateway_http_request_duration_seconds_count") == {("a",): 6.0}
    assert values(facts, "gateway_http_request_duration_seconds_sum") == {("a",): pytest.approx(40.006)}


def test_gauges_add_up_over_the_living(facts: Any, workers: list[Registry]) -> None:
    for worker in workers:
        worker.cells[worker.gauge("gateway_http_requests_in_flight", route="a")] = 3
        worker.cells[worker.gauge("gateway_tls_certificate_not_after_timestamp_seconds", listener="l", name="n")] = (
            1.7e9
        )
        worker.flush(time.monotonic())
    assert values(facts, "gateway_http_requests_in_flight") == {("a",): 6.0}
    facts.slots[0].mark_dead()
    assert values(facts, "gateway_http_requests_in_flight") == {("a",): 3.0}
    assert values(facts, "gateway_tls_certificate_not_after_timestamp_seconds") == {("l", "n"): 1.7e9}
    facts.slots[1].mark_dead()
    assert values(facts, "gateway_http_requests_in_flight") == {}


def test_counters_survive_a_worker_and_go_on_with_the_next(facts: Any, workers: list[Registry]) -> None:
    metrics = Metrics(facts, Totals())
    seen = []
    worker = workers[0]
    for _ in range(3):
        worker.cells[worker.counter(REQUESTS, **GET_200)] += 10
        worker.flush(time.monotonic())
        seen.append(values(facts, REQUESTS, metrics)["200", "GET", "a", "upstream"])
        facts.slots[0].mark_dead()
        seen.append(values(facts, REQUESTS, metrics)["200", "GET", "a", "upstream"])
        worker = Registry(facts.slots[0])
        facts.slots[0].state = WorkerState.SERVING
    assert seen == [10, 10, 20, 20, 30, 30]


def test_series_that_come_later_are_found(facts: Any, workers: list[Registry]) -> None:
    metrics = Metrics(facts, Totals())
    for n in range(1, 4):
        workers[0].counter("gateway_http_request_bytes_total", route=f"r{n}")
        workers[0].flush(time.monotonic())
        assert len(values(facts, "gateway_http_request_bytes_total", metrics)) == n


def test_a_killed_writer_leaves_what_it_flushed(facts: Any) -> None:
    """kill -9 in the middle of flushing: what is read is whole and monotone."""
    fd = SharedMemory.create(1)
    facts.slots = SharedMemory.attach(fd).slots
    script = """
import sys
from gateway.observe.memory import SharedMemory
from gateway.observe.registry import Registry
registry = Registry(SharedMemory.attach(int(sys.argv[1])).slot(0))
i = 0
while True:
    i += 1
    registry.cells[registry.counter("gateway_http_request_bytes_total", route=f"r{i % 5000}")] += 1
    registry.flush(float(i))
    if i == 500: print("ready", flush=True)
"""
    metrics, last = Metrics(facts, Totals()), 0.0
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", script, str(fd)], pass_fds=[fd], stdout=subprocess.PIPE)
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
        child.kill()
        child.wait()
        child.stdout.close()
        total = sum(values(facts, "gateway_http_request_bytes_total", metrics).values())
        assert total >= last + 500
        last = total


def test_what_only_the_supervisor_knows(facts: Any, workers: list[Registry]) -> None:
    facts.restarts = {"exited": 2, "hung": 1}
    facts.slots[1].heartbeat -= 30
    assert values(facts, "gateway_worker_up") == {("0",): 1.0, ("1",): 0.0}
    assert values(facts, "gateway_worker_restarts_total") == {("exited",): 2.0, ("hung",): 1.0}
    assert values(facts, "gateway_draining") == {(): 0.0}
    facts.drain()
    assert values(facts, "gateway_draining") == {(): 1.0}
    version = ".".join(map(str, sys.version_info[:3]))
    assert sorted(next(iter(values(facts, "gateway_build_info")))) == sorted((version, __version__))


def test_process_stats_of_every_process(facts: Any, workers: list[Registry]) -> None:
    facts.slots[1].mark_dead()
    memory = values(facts, "gateway_process_resident_memory_bytes")
    assert set(memory) == {("supervisor",), ("0",)}
    assert 1e6 < memory["0",] < 1e10
    fds = values(facts, "gateway_process_open_fds")["0",]
    assert abs(fds - len(os.listdir("/proc/self/fd"))) <= 3
    cpu = values(facts, "gateway_process_cpu_seconds_total")
    assert set(cpu) == {("supervisor",), ("0",), ("1",)}
    assert cpu["0",] > 0


def test_cpu_time_goes_on_when_another_process_takes_the_place() -> None:
    meter = ProcessMeter()
    burn = "while sum(__import__('os').times()[:2]) < 0.2: pass\nprint(flush=True); input()"
    total = 0.0
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout
            child.stdout.readline()
            now = meter.read("0", child.pid).cpu_s
            assert now >= total + 0.15
            total = now
            child.communicate(b"\n")
        assert meter.read("0", child.pid).cpu_s == total
    assert meter.read("0", 0).open_fds is None


def test_both_formats_say_the_same(facts: Any, workers: list[Registry]) -> None:
    fill(workers[0])
    metrics = Metrics(facts, Totals())
    text, text_type = metrics.render("text/plain")
    open_text, open_type = metrics.render(OPENMETRICS)
    assert text_type.startswith("text/plain; version=0.0.4")
    assert open_type.startswith("application/openmetrics-text; version=1.0.0")

    def samples(families: Any) -> dict[Any, float]:
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
            if "process" not in sample.name
        }

    assert samples(parse_text(text.decode())) == samples(parse_openmetrics(open_text.decode()))


def test_promtool_has_nothing_to_say(facts: Any, workers: list[Registry]) -> None:
    facts.restarts = {"exited": 1}
    facts.check_counts = {("o", "10.0.0.1:80", "pass"): 3}
    fill(workers[0])
    body, _ = Metrics(facts, Totals()).render("")
    shown = set(re.findall(r"^# TYPE (\w+)", body.decode(), re.MULTILINE))
    assert shown == set(FAMILIES)
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


async def test_the_address_answers_in_the_format_asked_for(connect: Any, workers: list[Registry]) -> None:
    fill(workers[0])
    client = await connect()
    async with client.get("/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert REQUESTS in await answer.text()
    async with client.get("/metrics", headers={"Accept": OPENMETRICS}) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert (await answer.text()).endswith("# EOF\n")


def test_a_scrape_of_20_000_series_is_quick(facts: Any, workers: list[Registry]) -> None:
    for worker in workers:
        for route in range(20_000):
            worker.cells[worker.counter("gateway_http_request_bytes_total", route=f"route-{route}")] += 1
        worker.flush(time.monotonic())
    metrics = Metrics(facts, Totals())
    metrics.render("")
    began = time.process_time()
    body, _ = metrics.render("")
    assert body.count(b"\n") > 20_000
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("counts", "share", "value"),
    [
        ({}, 0.5, None),
        ({0: 10}, 0.5, 0.0005),
        ({3: 10}, 1.0, 0.01),
        ({3: 10}, 0.5, 0.0075),
        ({0: 50, 9: 50}, 0.75, 0.75),
        ({len(BUCKETS): 1}, 0.5, 10.0),
    ],
)
def test_quantiles(counts: dict[int, int], share: float, value: float | None) -> None:
    buckets = tuple(float(counts.get(i, 0)) for i in range(len(BUCKETS) + 1))
    found = Distribution(buckets, math.nan).quantile(share)
    assert found == (None if value is None else pytest.approx(value))
