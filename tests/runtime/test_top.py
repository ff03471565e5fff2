"""What `gateway top` makes of two looks."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from gateway.observe.metrics import BUCKETS
from gateway.runtime.top_rates import Between, Look, look
from gateway.runtime.top_table import screen

TARGET = {"address": "h:1", "up": True, "state": "up", "why": None, "in_flight": 2}
BOUNDS = [*BUCKETS, float("inf")]


def document(requests: int, uptime_s: float = 100.0, routes: int = 1) -> dict[str, Any]:
    counts = [0.0] * len(BOUNDS)
    counts[3] = float(requests)
    return {
        "version": "1",
        "state": "serving",
        "uptime_s": uptime_s,
        "total": {
            "requests": requests,
            "errors": requests // 10,
            "in_flight": 1,
            "connections": 2,
            "duration": {"counts": counts},
        },
        "routes": [
            {"name": f"r{n}", "requests": requests * n, "errors": 0, "in_flight": 0} for n in range(1, routes + 1)
        ],
        "upstreams": [
            {
                "name": "u",
                "panic": False,
                "breaker": None,
                "limiter": {"kind": "adaptive", "limit": 20, "in_flight": 19, "waiting": 3, "workers": []},
                "targets": [TARGET | {"requests": requests, "errors": requests // 20}],
            }
        ],
        "queues": [{"name": "q", "depth": 3, "oldest_s": 0.5, "rejected": {"queue_full": requests}}],
        "workers": [{"slot": 0, "state": "serving", "connections": 2, "overload": None}],
    }


def metrics(requests: int, cpu_s: float) -> str:
    bad = f'gateway_upstream_requests_total{{code="503",target="h:1",upstream="u"}} {requests / 10}\n'
    good = f'gateway_upstream_requests_total{{code="200",target="h:1",upstream="u"}} {requests}\n'
    buckets = "".join(
        f'gateway_http_request_duration_seconds_bucket{{le="{bound}",route="r1"}} {requests if bound >= 0.01 else 0}\n'
        for bound in BOUNDS
    )
    processes = "".join(
        f'gateway_process_cpu_seconds_total{{process="{each}"}} {cpu_s}\n'
        f'gateway_process_resident_memory_bytes{{process="{each}"}} 5.24288e+07\n'
        for each in ("0", "supervisor")
    )
    return f"# HELP x\n{bad}{good}{buckets}{processes}"


@pytest.fixture
def between() -> Between:
    return Between(look(10.0, document(1000), metrics(1000, 5.0)), look(12.0, document(1400), metrics(1400, 6.0)))


def test_rates_are_of_the_time_between(between: Between) -> None:
    (route,), (upstream,) = between.routes(), between.upstreams()
    assert (route["per_s"], route["errors_per_s"]) == (200.0, 0.0)
    assert 5.0 < route["p50_ms"] < route["p99_ms"] <= 10.0
    assert upstream["per_s"] == 210.0, "answered, and failed"
    assert upstream["errors_per_s"] == pytest.approx(30.0), "failed, and answered with 503"
    assert upstream["in_flight"] == 2
    (queue,), (worker,) = between.queues(), between.workers()
    assert queue["refused_per_s"] == 200.0
    assert (worker["cpu"], worker["memory"]) == (0.5, 50 * 2**20)
    assert between.total()["per_s"] == 200.0
    assert 5.0 < between.total()["p99_ms"] <= 10.0


@pytest.mark.parametrize(
    "before", [None, look(10.0, document(5000, uptime_s=900.0), metrics(5000, 9.0))], ids=["first look", "new start"]
)
def test_without_an_earlier_look_no_rate_is_known(before: Look | None) -> None:
    between = Between(before, look(12.0, document(1400), metrics(1400, 6.0)))
    for row in (between.total(), *between.routes(), *between.upstreams()):
        assert (row["per_s"], row["errors_per_s"], row["p50_ms"]) == (None, None, None)
    assert between.queues()[0]["refused_per_s"] is None
    assert between.workers()[0]["cpu"] is None


def test_a_route_that_a_reload_added_counts_from_nothing() -> None:
    between = Between(look(10.0, document(1000), ""), look(12.0, document(1000, routes=2), ""))
    assert [(each["name"], each["per_s"]) for each in between.routes()] == [("r2", 1000.0), ("r1", 0.0)]


@pytest.mark.parametrize(("lines", "shown"), [(60, 30), (24, 15), (5, 3)])
def test_it_fits_the_screen_and_says_what_is_left_out(lines: int, shown: int) -> None:
    between = Between(look(10.0, document(1, routes=30), ""), look(11.0, document(2, routes=30), ""))
    console = Console(width=120, record=True, file=StringIO())
    console.print(screen(between, lines))
    text = console.export_text().splitlines()
    assert sum(line.startswith("r") and not line.startswith("route") for line in text) == shown
    assert any(line.startswith(f"route (+{30 - shown})") for line in text) == (shown < 30)
    assert len(text) <= max(lines, 16)
    assert any("19 of 20, adaptive" in line for line in text)
