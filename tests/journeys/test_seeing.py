"""Metrics, access log and admin address of a whole gateway."""

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.gateway import Gateway
from tests.support.upstream import Upstream
from tests.support.wait import until

Serve = Callable[..., Gateway]

PING = """
routes:
  - {name: ping, match: GET /ping, respond: {status: 200, body: pong}}
"""


def get(gateway: Gateway, path: str, **headers: str) -> int:
    request = urllib.request.Request(gateway.base_url + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_request_is_in_the_log_and_in_the_metrics(serve: Serve, upstream: Callable[..., Upstream]) -> None:
    target = upstream()
    gateway = serve(
        f"upstreams: {{u: 'http://127.0.0.1:{target.port}'}}\n"
        "routes: [{name: all, match: /a/*, to: u}]\n"
        "access_log: {path: '-', fields: {add: [query, 'header:x-tenant'], drop: [user_agent]}}\n",
        hung_after_s=10,
    )
    assert get(gateway, "/a/b?token=1", **{"X-Tenant": "acme"}) == 200
    assert get(gateway, "/nothing") == 404
    until(lambda: len(gateway.access_log()) == 2)
    proxied, refused = gateway.access_log()
    assert (proxied["path"], proxied["query"], proxied["header:x-tenant"]) == ("/a/b", "token=1", "acme")
    assert "user_agent" not in proxied
    assert (proxied["route"], proxied["status"], proxied["source"], proxied["reason"]) == ("all", 200, "upstream", None)
    assert (proxied["upstream"], proxied["target"]) == ("u", f"127.0.0.1:{target.port}")
    assert (refused["route"], refused["status"], refused["reason"]) == ("_unmatched", 404, "no_route")

    requests = "gateway_http_requests_total"
    until(lambda: gateway.metric(requests, route="all", method="GET", code="200", source="upstream") == 1)
    assert gateway.metric(requests, route="_unmatched", code="404", source="gateway") == 1
    assert gateway.metric("gateway_responses_generated_total", route="_unmatched", reason="no_route") == 1
    assert gateway.metric("gateway_upstream_requests_total", upstream="u", code="200") == 1
    assert gateway.metric("gateway_http_request_duration_seconds_count", route="all") == 1
    assert gateway.metric("gateway_event_loop_lag_seconds_count") > 0
    status = gateway.status()
    assert [(route["name"], route["requests"]) for route in status["routes"]] == [("all", 1), ("_unmatched", 1)]
    assert status["upstreams"][0]["targets"][0]["requests"] == 1


def test_promtool_has_nothing_to_say(serve: Serve) -> None:
    gateway = serve(PING, hung_after_s=10)
    assert get(gateway, "/ping") == 200
    _, body = gateway.admin("/metrics")
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_counters_never_go_backwards_when_a_worker_is_killed(serve: Serve) -> None:
    gateway = serve(PING, hung_after_s=10)
    for n in range(1, 4):
        assert get(gateway, "/ping") == 200
        until(lambda n=n: gateway.metric("gateway_http_requests_total", route="ping") == n)
        (pid,) = gateway.workers()
        os.kill(pid, signal.SIGKILL)
        assert gateway.metric("gateway_http_requests_total", route="ping") == n
        until(lambda pid=pid: gateway.workers() not in ([], [pid]))
        assert gateway.metric("gateway_http_requests_total", route="ping") == n
        assert gateway.metric("gateway_worker_restarts_total", reason="killed") == n


def test_the_log_is_rotated_by_signal_and_by_moving_it(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    gateway = serve(PING + f"access_log: {path}\n", hung_after_s=10)
    get(gateway, "/ping")
    until(lambda: len(lines(path)) == 1)
    path.rename(tmp_path / "1")
    gateway.signal(signal.SIGUSR1)
    until(path.exists)
    get(gateway, "/ping")
    until(lambda: len(lines(path)) == 1)
    path.rename(tmp_path / "2")
    until(path.exists)
    get(gateway, "/ping")
    until(lambda: len(lines(path)) == 1)
    assert [len(lines(tmp_path / name)) for name in "12"] == [1, 1]


def test_a_full_disk_stops_the_log_and_not_the_traffic(serve: Serve) -> None:
    gateway = serve(PING + "access_log: {path: /dev/full}\n", hung_after_s=10)
    for _ in range(20):
        assert get(gateway, "/ping") == 200
    until(lambda: gateway.metric("gateway_access_log_dropped_total") == 20)
    assert gateway.errors.count("No space left on device") == 1


def test_a_log_without_reader_stops_nothing(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    gateway = serve(PING + f"access_log: {{path: {path}, format: combined}}\n", hung_after_s=10)
    assert get(gateway, "/ping") == 200
    until(lambda: gateway.metric("gateway_access_log_dropped_total") == 1)
    assert gateway.stop() == 0
