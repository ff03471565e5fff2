"""Limits, logs and the watch over the loop change with a reload, for connections that are open, too."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.journeys.test_reload import change, get
from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.upstream import Upstream
from tests.support.wait import until

Serve = Callable[..., Gateway]
ROUTES = "routes: [{name: r, match: /r, respond: {status: 200, body: fine}}]\n"


def request(path: str = "/r", *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: h", *lines, "", ""]).encode()


def test_limits_hold_for_open_connections_and_for_new_ones(serve: Serve, upstream: Callable[..., Upstream]) -> None:
    target = upstream()
    routes = f'upstreams: {{u: "{target.url}"}}\n{ROUTES}'.replace("]\n", ", {name: u, match: /u, to: u}]\n")
    gateway = serve("workers: 1\n" + routes)
    with Raw(gateway.port) as early, Raw(gateway.port) as idle:
        assert early.send(request("/u", "x_y: 1")).answer().status == 200
        assert idle.send(request()).answer().status == 200
        assert not target.requests[-1].fields("x_y")
        limits = "underscores: allow, line: 1KiB, keep_alive: 1500ms, header_timeout: 300ms, connections: 2"
        change(gateway, f"workers: 1\nlimits: {{{limits}}}\n{routes}")
        assert early.send(request("/u", "x_y: 1")).answer().status == 200
        assert target.requests[-1].fields("x_y") == ["1"]
        with Raw(gateway.port) as third:
            assert third.answer().status == 503
        assert early.send(request("/r?" + "x" * 2000)).answer().status == 414
    until(lambda: gateway.status()["total"]["connections"] == 0, 5, "room for others")
    with Raw(gateway.port) as slow:
        began = time.monotonic()
        assert slow.send(b"GET /r HTT").answer().status == 408
        assert time.monotonic() - began < 5
    with Raw(gateway.port) as quiet:
        assert quiet.send(request()).answer().status == 200
        assert quiet.rest() == b""


def test_logs_move_change_their_form_and_end(serve: Serve, tmp_path: Path) -> None:
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    gateway = serve(f"workers: 2\naccess_log: {first}\n{ROUTES}")

    def ask(times: int = 4) -> None:
        for _ in range(times):
            assert get(gateway.port, "/r") == (200, b"fine")

    def lines(path: Path) -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    ask()
    logs = f"log: {{format: json, level: debug}}\naccess_log: {{path: {second}, format: combined}}\n"
    change(gateway, "workers: 2\n" + logs + ROUTES)
    until(lambda: len(lines(first)) == 4, 5, "what was logged before")
    ask()
    until(lambda: len(lines(second)) == 4, 5, "the other file")
    assert all('"GET /r HTTP/1.1" 200' in line for line in lines(second))
    assert json.loads(gateway.errors.splitlines()[-1])["message"].startswith("reloaded: ")
    change(gateway, f"workers: 2\naccess_log: {{path: {second}, fields: {{drop: [path]}}}}\n{ROUTES}")
    ask()
    until(lambda: len(lines(second)) == 8, 5, "the other form")
    assert "path" not in json.loads(lines(second)[-1])
    change(gateway, f"workers: 2\naccess_log: off\n{ROUTES}")
    ask()
    change(gateway, f"workers: 2\naccess_log: {first}\n{ROUTES}")
    ask()
    until(lambda: len(lines(first)) == 8, 5, "the first file, again")
    assert len(lines(second)) == 8
    assert gateway.metric("gateway_access_log_dropped_total") == 0


def test_the_watch_over_the_loop_begins_and_ends(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(
        "import time\nfrom gateway import Response\n"
        "async def hold(request):\n    time.sleep(0.5)\n    return Response('held')\n"
    )
    routes = "routes: [{name: r, match: /r, handler: '../code.py:hold'}]\n"

    def blocked(gateway: Gateway) -> float:
        return gateway.metric("gateway_event_loop_blocked_total")

    gateway = serve(f"workers: 1\nloop_guard: off\n{routes}")
    assert get(gateway.port, "/r") == (200, b"held")
    change(gateway, f"workers: 1\nloop_guard: 50ms\n{routes}")
    assert blocked(gateway) == 0
    assert get(gateway.port, "/r") == (200, b"held")
    until(lambda: blocked(gateway) >= 1, 5, "a count")
    before = blocked(gateway)
    change(gateway, f"workers: 1\nloop_guard: off\n{routes}")
    assert get(gateway.port, "/r") == (200, b"held")
    requests = gateway.metric("gateway_http_requests_total")
    until(lambda: gateway.metric("gateway_http_requests_total") >= max(3, requests), 5, "the next counts")
    assert blocked(gateway) == before


def test_a_token_that_the_command_line_needs_cannot_be_taken_away(serve: Serve) -> None:
    routes = "routes: [{name: r, match: /r, respond: {status: 204}}]\n"
    admin = "admin: {address: 127.0.0.1:0, token: secret, open: [healthz, readyz, metrics, status]}\n"
    gateway = serve("listen: 127.0.0.1:0\n" + admin + routes, arguments=("--admin", "0.0.0.0:0"), wait=False)
    until(lambda: "admin on" in gateway.errors, what="it serves")
    gateway.config.write_text("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n" + routes)
    gateway.signal(signal.SIGHUP)
    until(lambda: "not reloaded" in gateway.errors, what="the refusal")
    assert "--admin: 0.0.0.0:0 is not loopback: set admin.token" in gateway.errors
    assert "Traceback" not in gateway.errors
