"""The command line: what overrides the file, and what is refused."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner, Result

from gateway.runtime.commands import drain, run, status
from tests.support.gateway import Gateway

STATUS = {
    "version": "1.2.3",
    "state": "serving",
    "uptime_s": 7300.0,
    "config": {"path": "gateway.yaml"},
    "total": {"requests": 12, "errors": 1, "in_flight": 2, "connections": 3},
    "workers": [
        {
            "slot": 0,
            "pid": 77,
            "state": "serving",
            "overload": {"cause": "memory", "share": 0.25, "refused": 9},
            "connections": 3,
            "buffered_bytes": 0,
        }
    ],
    "listeners": [{"address": "0.0.0.0:80", "tls": False, "open": 3, "connections": 9, "rejected": 0}],
    "routes": [],
    "upstreams": [
        {
            "name": "orders",
            "balance": "random",
            "p50_ms": 1.5,
            "p99_ms": None,
            "panic": True,
            "breaker": {
                "state": "open",
                "workers": [
                    {"worker": 0, "state": "closed", "why": None, "for_s": None, "retry_in_s": None},
                    {"worker": 1, "state": "open", "why": "9 of 9 [failed]", "for_s": 1.0, "retry_in_s": 4.0},
                    {"worker": 2, "state": "unknown"},
                ],
            },
            "limiter": {"kind": "adaptive", "limit": 20, "in_flight": 18, "waiting": 7, "workers": []},
            "retries": {
                "attempts": 2,
                "budget": 0.2,
                "used": 3,
                "allowed": 10,
                "outcomes": {"denied_budget": 2, "ok": 3},
            },
            "hedges": {"after_s": 0.05, "outcomes": {"lost": 9, "won": 4}},
            "targets": [
                {
                    "address": "[::1]:9",
                    "weight": None,
                    "up": False,
                    "state": "ejected",
                    "why": "5 errors in a row",
                    "requests": 5,
                    "errors": 1,
                    "in_flight": 0,
                    "connections": {"idle": 4, "active": 0},
                }
            ],
        }
    ],
    "queues": [
        {
            "name": "checkout",
            "weight": 10,
            "depth": 7,
            "oldest_s": 0.25,
            "rejected": {"queue_full": 2, "queue_timeout": 3},
            "wait_p50_ms": 8.0,
            "wait_p99_ms": 99.0,
        }
    ],
    "executors": [
        {
            "name": "pricing",
            "kind": "processes",
            "limit": 2,
            "busy": 1,
            "idle": 0,
            "abandoned": 0,
            "waiting": 3,
            "calls": {"ok": 7, "rejected": 4, "timeout": 5, "abandoned": 0, "error": 6},
            "p99_ms": 8.5,
            "degraded": True,
        }
    ],
}


class _Admin(BaseHTTPRequestHandler):
    """Answers with STATUS to whoever has the token."""

    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == "Bearer sesame"
        body = json.dumps(STATUS).encode() if allowed else b""
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Not on the test's output."""


@pytest.fixture(scope="module")
def admin() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Admin) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def said(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    for each in words:
        assert each in result.output
    assert "Traceback" not in result.output


def test_status_is_readable_and_whole(admin: str) -> None:
    shown = CliRunner().invoke(status, ["--admin", admin], env={"GATEWAY_ADMIN_TOKEN": "sesame"})
    said(shown, 0, "floodgate 1.2.3: serving for 2 h, 12 requests (1 errors)")
    lines = [line.split() for line in shown.output.splitlines()]
    assert "orders [::1]:9 - no ejected 5 errors in a row 5 1 0 4".split() in lines
    assert "0 77 serving refuses 25% (memory) 3 0".split() in lines
    assert "checkout 10 7 0.25 5 8.0 99.0".split() in lines
    (line,) = [line for line in shown.output.splitlines() if "random" in line]
    assert "0 of 1 (all bad, so all are used)" in line
    assert "open: 9 of 9 [failed]; tried again in 4 s" in line
    assert "18 of 20, adaptive" in line
    assert "2 denied budget, 3 ok; 3 of 10 in 10 s" in line
    assert "9 lost, 4 won; after 50 ms" in line
    assert "pricing 2 processes yes 1 0 0 3 7 4 5 6 8.5".split() in lines
    raw = CliRunner().invoke(status, ["--admin", admin, "--token", "sesame", "--json"])
    assert json.loads(raw.output) == STATUS


def test_a_missing_token_is_asked_for(admin: str) -> None:
    for command in (status, drain):
        said(CliRunner().invoke(command, ["--admin", admin]), 1, f"{admin} says 401", "GATEWAY_ADMIN_TOKEN")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "8080"], "an address needs a port, such as 0.0.0.0:8080"),
        (["--workers", "0"], "0 is not in the range"),
        (["--log-level", "loud"], "'loud' is not one of"),
        (["--admin", "unix:relative"], "needs an absolute path"),
    ],
)
def test_wrong_options_are_refused(arguments: list[str], words: str) -> None:
    said(CliRunner().invoke(run, ["nowhere.yaml", *arguments]), 2, words)


CONFIG = "routes: [{name: ping, match: /ping, respond: {status: 200, body: pong}}]\nworkers: 1\n"


def test_options_override_the_file(tmp_path: Path) -> None:
    config = "listen: 192.0.2.1:1\nadmin: 192.0.2.1:2\n" + CONFIG
    config = config.replace("admin: 192.0.2.1:2", "admin: {address: 192.0.2.1:2, token: x, open: [readyz, status]}")
    arguments = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "2", "--log-level", "debug")
    with Gateway(config, tmp_path, arguments=arguments) as gateway:
        assert len(gateway.workers()) == 2
        assert gateway.base_url.startswith("http://127.0.0.1:")


def test_an_open_admin_address_needs_a_token(tmp_path: Path) -> None:
    with Gateway(CONFIG, tmp_path, arguments=("--admin", "0.0.0.0:0"), wait=False) as gateway:
        assert gateway.process.wait(15) == 2
        assert "0.0.0.0:0 is not loopback: set admin.token" in gateway.errors
