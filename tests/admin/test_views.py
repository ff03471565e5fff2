"""Health, status, config, drain and the dashboard."""

import time
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from gateway.executors.settings import ExecutorSettings
from gateway.observe.memory import WorkerState
from gateway.observe.registry import Registry

pytestmark = pytest.mark.usefixtures("workers")


async def test_healthz_lives_whatever_the_workers_do(connect: Any, facts: Any) -> None:
    client = await connect()
    for slot in facts.slots:
        slot.mark_dead()
    async with client.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")
        assert answer.headers["Server"] == "floodgate"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_readyz_needs_one_worker_that_serves(connect: Any, facts: Any) -> None:
    client = await connect()

    async def ready() -> tuple[int, str]:
        async with client.get("/readyz") as answer:
            return answer.status, await answer.text()

    facts.slots[0].mark_dead()
    assert await ready() == (200, "ready\n")
    facts.slots[1].heartbeat = time.monotonic() - 11
    assert await ready() == (503, "no worker serves\n")
    facts.slots[0].state = WorkerState.STARTING
    assert await ready() == (503, "no worker serves\n")
    facts.slots[1].heartbeat = time.monotonic()
    assert await ready() == (200, "ready\n")
    facts.slots[1].state = WorkerState.DRAINING
    assert await ready() == (503, "no worker serves\n")


async def test_readyz_names_what_is_degraded_and_stays_ready(connect: Any, facts: Any) -> None:
    executors = (ExecutorSettings("default", threads=16), ExecutorSettings("fraud", threads=2))
    facts.settings = replace(facts.settings, executors=executors)
    facts.slots[1].degraded = [1, 2]  # the last is of a config of before
    client = await connect()
    async with client.get("/readyz") as answer:
        assert (answer.status, await answer.text()) == (200, "ready\ndegraded: executor fraud (worker 1)\n")
    async with client.get("/status") as answer:
        status = await answer.json()
    assert {each["name"]: each["degraded"] for each in status["executors"]} == {"default": False, "fraud": True}
    facts.slots[1].mark_dead()
    async with client.get("/readyz") as answer:
        assert await answer.text() == "ready\n"


async def test_drain_drains_and_makes_it_unready(connect: Any, facts: Any) -> None:
    client = await connect()
    async with client.post("/drain") as answer:
        assert answer.status == 202
        assert await answer.json() == {"state": "draining"}
    assert facts.draining
    async with client.get("/readyz") as answer:
        assert (answer.status, await answer.text()) == (503, "draining\n")
    async with client.post("/drain") as answer:
        assert answer.status == 202


async def test_config_is_the_redacted_one(connect: Any) -> None:
    client = await connect()
    async with client.get("/config") as answer:
        assert await answer.json() == {"admin": {"token": "***"}}


async def test_the_dashboard_needs_nothing_from_elsewhere(connect: Any) -> None:
    client = await connect(token="secret")
    async with client.get("/") as answer:
        page = await answer.text()
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
    for tag in ("script", "style"):
        inline = page.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
        allowed = b64encode(sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{allowed}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "style=" not in page
    assert "src=" not in page
    assert "@import" not in page
    assert "innerHTML" not in page
    assert 'fetch("status"' in page


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/drain", 405), ("POST", "/status", 405), ("GET", "/nothing", 404)]
)
async def test_mistakes_are_problem_documents(connect: Any, method: str, path: str, status: int) -> None:
    client = await connect()
    async with client.request(method, path) as answer:
        assert answer.status == status
        assert answer.content_type == "application/problem+json"
        assert (await answer.json())["status"] == status
        assert ("Allow" in answer.headers) == (status == 405)


async def test_our_own_mistakes_show_no_traceback(connect: Any, facts: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = await connect()
    facts.restarts = None
    async with client.get("/status") as answer:
        assert answer.status == 500
        assert "TypeError" not in await answer.text()
    assert "/status failed" in caplog.text


def traffic(workers: list[Registry]) -> None:
    for worker in workers:
        cells = worker.cells
        for route, code, n in (("orders", "200", 10), ("orders", "502", 2), ("_unmatched", "404", 1)):
            source = "upstream" if code == "200" else "gateway"
            cells[
                worker.counter("gateway_http_requests_total", route=route, method="GET", code=code, source=source)
            ] += n
        for value in (0.002, 0.002, 0.002, 0.2):
            worker.histogram("gateway_http_request_duration_seconds", route="orders").observe(value)
        cells[worker.gauge("gateway_http_requests_in_flight", route="orders")] = 3
        cells[worker.counter("gateway_responses_generated_total", route="orders", reason="connect_refused")] += 2
        for target, upstream in (("10.0.0.1:80", "o"), ("10.1.1.1:80", "p")):
            labels = {"upstream": upstream, "target": target}
            cells[worker.counter("gateway_upstream_requests_total", **labels, code="200")] += 10
            cells[worker.counter("gateway_upstream_errors_total", **labels, reason="connect_refused")] += 2
            cells[worker.gauge("gateway_upstream_requests_in_flight", **labels)] = 1
            cells[worker.gauge("gateway_upstream_connections", **labels, state="idle")] = 4
            cells[worker.gauge("gateway_upstream_target_up", **labels)] = 1
        cells[worker.gauge("gateway_connections_open", listener="127.0.0.1:8080")] = 5
        worker.flush(time.monotonic())


async def test_status_adds_up_the_workers(connect: Any, facts: Any, workers: list[Registry]) -> None:
    traffic(workers)
    facts.slots[0].connections = 5
    facts.restarts = {"exited": 1}
    client = await connect()
    async with client.get("/status") as answer:
        status = await answer.json()
    assert status["state"] == "serving"
    assert status["config"] == {"hash": "abc123", "loaded_at": "2026-11-23T01:55:29Z", "path": "gateway.yaml"}
    assert status["restarts"] == {"exited": 1}
    worker = status["workers"][0]
    assert (worker["slot"], worker["state"], worker["connections"]) == (0, "serving", 5)
    assert worker["pid"] > 0
    total = status["total"]
    assert (total["requests"], total["errors"], total["in_flight"], total["connections"]) == (26, 4, 6, 5)
    assert total["by_code"] == {"200": 20, "404": 2, "502": 4}
    assert total["generated"] == {"connect_refused": 4}
    assert sum(total["duration"]["counts"]) == 8
    assert status["listeners"] == [
        {"address": "127.0.0.1:8080", "tls": False, "open": 10, "connections": 0, "rejected": 0}
    ]


async def test_status_of_routes(connect: Any, workers: list[Registry]) -> None:
    traffic(workers)
    client = await connect()
    async with client.get("/status") as answer:
        routes = {route["name"]: route for route in (await answer.json())["routes"]}
    assert list(routes) == ["orders", "split", "ping", "old", "_unmatched"]
    orders = routes["orders"]
    assert (orders["match"], orders["answer"]) == ("GET,POST /orders/*", "to o")
    assert (orders["requests"], orders["errors"], orders["in_flight"]) == (24, 4, 6)
    assert 1 < orders["p50_ms"] <= 2.5
    assert 100 < orders["p99_ms"] <= 250
    assert (routes["split"]["match"], routes["split"]["answer"]) == ("a.example/s", "to o 90%, p 10%")
    assert routes["split"]["p99_ms"] is None
    assert (routes["ping"]["match"], routes["ping"]["answer"]) == ("/ping x-a=1", "respond 200")
    assert routes["old"]["answer"] == "redirect 308 https://example.com/"
    assert routes["_unmatched"]["requests"] == 2


async def test_status_of_upstreams(connect: Any, workers: list[Registry]) -> None:
    traffic(workers)
    client = await connect()
    async with client.get("/status") as answer:
        orders, names = (await answer.json())["upstreams"]
    assert orders["name"] == "o"
    assert orders["balance"] == "least_loaded"
    busy, unused = orders["targets"]
    assert busy == {
        "address": "10.0.0.1:80",
        "weight": 2,
        "state": "unchecked",
        "why": None,
        "up": True,
        "in_flight": 2,
        "requests": 20,
        "errors": 4,
        "connections": {"idle": 8, "active": 0},
    }
    assert (unused["address"], unused["requests"], unused["up"]) == ("10.0.0.2:80", 0, None)
    assert [target["address"] for target in names["targets"]] == ["10.1.1.1:80"]


async def test_status_of_executors(connect: Any, facts: Any, workers: list[Registry]) -> None:
    executors = (ExecutorSettings("default", threads=16), ExecutorSettings("pricing", processes=2))
    facts.settings = replace(facts.settings, executors=executors)
    for worker in workers:
        cells = worker.cells
        for state, n in (("busy", 2), ("idle", 1), ("abandoned", 3)):
            cells[worker.gauge("gateway_executor_workers", executor="default", state=state)] = n
        cells[worker.gauge("gateway_executor_queue_depth", executor="default")] = 4
        cells[worker.gauge("gateway_executor_queue_limit", executor="default")] = 128
        for outcome, n in (("ok", 10), ("rejected", 5)):
            cells[worker.counter("gateway_executor_tasks_total", executor="default", outcome=outcome)] += n
        worker.histogram("gateway_executor_task_duration_seconds", executor="default").observe(0.03)
        cells[worker.counter("gateway_event_loop_blocked_total", code="shop:pay")] += 1
        worker.flush(time.monotonic())
    client = await connect()
    async with client.get("/status") as answer:
        status = await answer.json()
    default, pricing = status["executors"]
    assert 25 < default.pop("p50_ms") <= default.pop("p99_ms") <= 50
    assert default == {
        "name": "default",
        "kind": "threads",
        "limit": 16,
        "busy": 4,
        "idle": 2,
        "abandoned": 6,
        "waiting": 8,
        "queue": 256,
        "calls": {"ok": 20, "rejected": 10},
        "wait_p99_ms": None,
        "degraded": False,
    }
    assert (pricing["kind"], pricing["limit"], pricing["busy"], pricing["calls"]) == ("processes", 2, 0, {})
    assert status["total"]["loop_blocked"] == {"shop:pay": 2}


async def test_status_names_a_hung_worker(connect: Any, facts: Any) -> None:
    facts.slots[0].heartbeat = time.monotonic() - 60
    facts.slots[1].mark_dead()
    client = await connect()
    async with client.get("/status") as answer:
        hung, dead = (await answer.json())["workers"]
    assert hung["state"] == "hung"
    assert hung["heartbeat_age_s"] >= 60
    assert (dead["state"], dead["pid"]) == ("dead", None)
