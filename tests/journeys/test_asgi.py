"""ASGI applications in the gateway's own process: FastAPI, and others that keep to ASGI 3 or do not."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.support.corpus import request
from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.raw import Raw
from tests.support.wait import until

APPS = Path(__file__).parents[1] / "support" / "apps"
SITE, PLAIN = APPS / "fastapi_site.py", APPS / "plain_asgi.py"
CONFIG = f"""
limits: {{underscores: allow, body: 64MiB, buffered: 64MiB}}
routes:
  - {{name: site, match: /site/*, strip: /site, app: {{asgi: "{SITE}:app"}}}}
  - {{name: plain, match: /plain/*, strip: /plain, app: {{asgi: "{PLAIN}:app"}}}}
  - {{name: whole, match: /whole/*, app: {{asgi: "{PLAIN}:app"}}}}
  - {{name: brief, match: /brief/*, strip: /brief, timeout: 200ms, app: {{asgi: "{PLAIN}:app"}}}}
  - {{name: small, match: /small/*, strip: /small, body_limit: 1KiB, app: {{asgi: "{SITE}:app"}}}}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(CONFIG, tmp_path_factory.mktemp("asgi")) as gateway:
        yield gateway


def plain_notes(client: httpx.Client) -> list[str]:
    return list(client.get("/plain/notes").json())


# --- FastAPI --------------------------------------------------------------------------------------------------------


def test_a_route_of_fastapi(gateway: Gateway, client: httpx.Client) -> None:
    answer = client.get("/site/hello/you?a=b%20c")
    assert answer.json() == {
        "hello": "you",
        "ip": "127.0.0.1",
        "database": "open",
        "url": f"{gateway.base_url}/site/hello/you?a=b%20c",
    }
    line = gateway.logged(request_id=answer.headers["x-request-id"])
    assert (line["source"], line["route"], line["status"], line["executor_ms"]) == ("app", "site", 200, None)
    assert line["overhead_ms"] < line["duration_ms"]
    until(lambda: gateway.metric("gateway_http_requests_total", route="site", source="app", code="200"))


def test_plain_def_json_and_validation(client: httpx.Client) -> None:
    assert client.get("/site/blocking/you").json() == {"hello": "you"}
    order = {"symbol": "ABC", "quantity": 3}
    assert client.post("/site/orders", json=order).json() == order
    assert client.post("/site/orders", json={"symbol": "ABC"}).status_code == 422
    assert client.get("/site/teapot").json() == {"detail": "short and stout"}
    assert client.get("/site/openapi.json").json()["paths"].keys() >= {"/orders"}


def test_bodies_come_in_pieces(client: httpx.Client) -> None:
    answer = client.post("/site/size", content=bytes(20 << 20)).json()
    assert answer["total"] == 20 << 20
    assert answer["most"] < 4 << 20, "a body is passed on as it comes"


def test_a_body_in_chunks_is_echoed_while_it_comes(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(request(b"Transfer-Encoding: chunked", line=b"POST /site/echo HTTP/1.1"))
        for number in range(3):
            piece = b"piece %d" % number
            raw.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            raw.until(piece)
        raw.send(b"0\r\n\r\n")
        assert raw.until(b"0\r\n\r\n").endswith(b"0\r\n\r\n")


def test_a_body_that_nobody_reads_is_not_taken(gateway: Gateway, client: httpx.Client) -> None:
    """Reading pauses, so a client cannot fill the memory of an application that is busy."""
    sent = 0
    with Raw(gateway.port) as raw:
        raw.send(request(b"Content-Length: 50000000", line=b"POST /site/unread HTTP/1.1"))
        raw._sock.settimeout(0.5)
        with suppress(TimeoutError):
            while sent < 50_000_000:
                sent += raw._sock.send(bytes(min(1 << 20, 50_000_000 - sent)))
        assert sent < 20_000_000, "the rest waits with the client"
        raw._sock.settimeout(20)
        client.post("/site/open/unread")
        raw.send(bytes(50_000_000 - sent))
        assert json.loads(raw.answer().body) == {"total": 50_000_000}


def test_a_body_beyond_the_limit(ask: Callable[..., Answer]) -> None:
    answer = ask("/small/size", b"Content-Length: 1025", method="POST")
    assert (answer.status, answer.reason) == (413, "body_too_large")


def test_a_client_that_waits_for_100_is_told_to_go_on(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(request(b"Expect: 100-continue", b"Content-Length: 4", line=b"POST /site/size HTTP/1.1"))
        assert raw.answer().status == 100
        assert json.loads(raw.send(b"body").answer().body)["total"] == 4


def test_pieces_are_sent_as_they_are_made(gateway: Gateway, client: httpx.Client) -> None:
    with client.stream("GET", "/site/gated/a") as answer:
        lines = answer.iter_lines()
        for number in range(3):
            assert next(lines) == f"{number} of a"
            httpx.post(f"{gateway.base_url}/site/open/a")
        assert list(lines) == []


def test_a_slow_client_slows_the_application(gateway: Gateway, client: httpx.Client) -> None:
    with Raw(gateway.port, receive_buffer=65536) as slow:
        slow.send(request(b"Connection: close", line=b"GET /site/large/16 HTTP/1.1"))
        slow.until(b"\r\n\r\n")
        made = [client.get("/site/notes").json()["made"] for _ in range(20)]
        assert made[-1] < 16 * 16, "not all was made for a client that takes nothing"
        body = sum(map(len, slow.pieces()))
    assert body >= 16 << 20
    assert client.get("/site/notes").json()["made"] == 16 * 16


def test_a_client_that_leaves_ends_the_stream(gateway: Gateway, client: httpx.Client) -> None:
    with Raw(gateway.port) as raw:
        raw.send(request(line=b"GET /site/gated/left HTTP/1.1"))
        raw.until(b"0 of left")
    until(lambda: "gated left ended" in client.get("/site/notes").json()["notes"])
    assert gateway.logged(path="/site/gated/left")["reason"] == "client_closed"


def test_work_behind_the_answer_goes_on_without_the_client(gateway: Gateway, client: httpx.Client) -> None:
    with Raw(gateway.port) as raw:
        assert raw.send(request(line=b"GET /site/behind HTTP/1.1")).answer().body == b'"answered"'
        assert raw.send(request(line=b"GET /site/blocking/x HTTP/1.1")).answer().status == 200
    client.post("/site/open/behind")
    until(lambda: "behind done" in client.get("/site/notes").json()["notes"])


def test_an_exception_of_a_route_is_answered_by_the_framework(gateway: Gateway, client: httpx.Client) -> None:
    answer = client.get("/site/raises")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    until(lambda: "LookupError: a secret detail" in gateway.errors)


# --- ASGI 3 ---------------------------------------------------------------------------------------------------------


def test_the_whole_scope(gateway: Gateway, ask: Callable[..., Answer]) -> None:
    answer = ask("/plain/a%20b/%C3%BC//c?x=%20y&z", b"X-A: 1", b"x-a: 2", b"Cookie: a=1")
    scope = json.loads(answer.body)
    client, server = scope.pop("client"), scope.pop("server")
    assert client[0] == "127.0.0.1"
    assert client[1] > 0
    assert server == ["127.0.0.1", gateway.port]
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/plain/a b/ü//c",
        "raw_path": "/plain/a%20b/%C3%BC//c",
        "root_path": "/plain",
        "query_string": "x=%20y&z",
        "headers": [
            ["host", "gateway.test"],
            ["x-a", "1"],
            ["x-a", "2"],
            ["cookie", "a=1"],
            ["x-request-id", answer.get("x-request-id")],
        ],
        "state": {},
    }


def test_without_strip_there_is_no_root_path(ask: Callable[..., Answer]) -> None:
    scope = json.loads(ask("/whole/a").body)
    assert (scope["root_path"], scope["path"]) == ("", "/whole/a")
    scope = json.loads(ask("/plain").body)
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/plain", "/plain/", "/plain/")


def test_fields_that_are_not_the_clients_to_set(ask: Callable[..., Answer]) -> None:
    lines = (b"X_A: underscore", b"X-Forwarded-For: 6.6.6.6", b"X-Request-Id: mine", b"X-Gateway-User: root")
    answer = ask("/plain/x", *lines, b"Connection: x-b", b"X-B: 1")
    assert [name for name, _ in json.loads(answer.body)["headers"]] == ["host", "x-request-id"]
    assert b"mine" not in answer.body


def test_fields_of_an_answer_that_are_the_gateways(ask: Callable[..., Answer]) -> None:
    answer = ask("/plain/hop-by-hop")
    for name in ("connection", "keep-alive", "transfer-encoding", "upgrade"):
        assert answer.get(name) is None
    assert "mine" not in (answer.get("x-request-id"), answer.get("date"))
    assert answer.all("set-cookie") == ["a=1", "b=2"]
    assert (answer.get("content-length"), answer.body) == ("1", b"x")


def test_answers_without_a_body(ask: Callable[..., Answer]) -> None:
    answer = ask("/plain/no-content")
    assert (answer.status, answer.get("x-kept"), answer.get("content-length")) == (204, "1", None)
    answer = ask("/site/large/1", method="HEAD")
    assert (answer.status, answer.body) == (200, b"") or answer.status == 405
    assert ask("/plain/notes").status == 200


def test_sending_behind_the_end(client: httpx.Client) -> None:
    assert client.get("/plain/more-than-enough").text == "enough"
    until(lambda: "http.response.body was sent behind the end of the answer" in plain_notes(client))


@pytest.mark.parametrize(
    "path",
    ["nothing", "started-only", "too-short", "too-long", "out-of-order", "bad-head", "bad-status", "text"],
)
def test_an_error_before_the_head(gateway: Gateway, client: httpx.Client, path: str) -> None:
    answer = client.get(f"/plain/{path}")
    assert (answer.status_code, answer.headers["x-gateway-reason"]) == (500, "handler_error")
    problem = answer.json()
    assert problem["type"] == "urn:gateway:handler_error"
    assert "plain_asgi" not in answer.text
    until(lambda: f"request {problem['request_id']}: plain_asgi.py:app" in gateway.errors)


@pytest.mark.parametrize("path", ["half", "broken-off"])
def test_an_error_behind_the_head_cuts_the_answer(gateway: Gateway, path: str) -> None:
    with Raw(gateway.port) as raw:
        raw.send(request(line=b"GET /plain/%s HTTP/1.1" % path.encode()))
        answer = raw.rest()
    assert b"so far " in answer
    assert not answer.endswith(b"0\r\n\r\n")
    line = gateway.logged(path=f"/plain/{path}")
    assert (line["status"], line["reason"]) == (200, "handler_error")


def test_an_application_that_stays_silent(gateway: Gateway, client: httpx.Client) -> None:
    answer = client.get("/brief/silent")
    assert (answer.status_code, answer.headers["x-gateway-reason"]) == (504, "handler_error")
    until(lambda: "/brief/silent cancelled" in plain_notes(client))
    with Raw(gateway.port) as raw:
        raw.send(request(line=b"GET /brief/silent-behind-the-head HTTP/1.1"))
        assert raw.rest().endswith(b"1\r\nx\r\n")
    assert gateway.logged(path="/brief/silent-behind-the-head")["reason"] == "handler_error"


def test_an_application_hears_that_its_client_left(gateway: Gateway, client: httpx.Client) -> None:
    with Raw(gateway.port) as raw:
        raw.send(request(line=b"GET /plain/listens HTTP/1.1"))
        until(lambda: gateway.metric("gateway_http_requests_in_flight", route="plain"))
    until(lambda: "http.request http.disconnect" in plain_notes(client))
    until(lambda: "ClientLeft" in plain_notes(client))
    assert "ClientLeft" not in gateway.errors, "to hear of it by sending is nothing to log"


def test_an_application_that_takes_no_end_for_an_end_hurts_nobody(gateway: Gateway, client: httpx.Client) -> None:
    with Raw(gateway.port) as raw:
        raw.send(request(line=b"GET /plain/never-satisfied HTTP/1.1"))
    assert gateway.logged(path="/plain/never-satisfied")["reason"] == "client_closed"
    for _ in range(10):
        assert client.get("/site/hello/x", timeout=1).status_code == 200


def test_an_application_that_never_listens_ends_with_its_client(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(request(line=b"GET /plain/floods HTTP/1.1"))
        raw.until(b"\r\n\r\n")
    assert gateway.logged(path="/plain/floods")["reason"] == "client_closed"
    until(lambda: gateway.metric("gateway_http_requests_in_flight", route="plain") == 0)


def test_many_at_once(gateway: Gateway) -> None:
    answers: list[int] = []

    def ask_some() -> None:
        with httpx.Client(base_url=gateway.base_url, trust_env=False) as client:
            answers.extend(client.get(f"/site/hello/{number}").status_code for number in range(25))

    threads = [threading.Thread(target=ask_some) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers == [200] * 200


# --- its life -------------------------------------------------------------------------------------------------------


def test_an_application_lives_as_long_as_its_worker(serve: Callable[..., Gateway]) -> None:
    gateway = serve(CONFIG)
    lives = gateway.config.parent / "lives.txt"
    assert lives.read_text() == "began\n", "once, for all its routes"
    assert gateway.stop() == 0
    assert lives.read_text() == "began\nended\n"


def test_an_answer_under_way_is_finished_before_the_application_ends(serve: Callable[..., Gateway]) -> None:
    gateway = serve(CONFIG)
    lives = gateway.config.parent / "lives.txt"
    with Raw(gateway.port) as raw, Raw(gateway.port) as other:
        raw.send(request(line=b"GET /site/gated/a HTTP/1.1"))
        raw.until(b"0 of a")
        open_gate = request(b"Content-Length: 0", line=b"POST /site/open/a HTTP/1.1")
        assert other.send(open_gate).answer().status == 200
        raw.until(b"1 of a")
        assert other.send(open_gate).answer().status == 200
        raw.until(b"2 of a")
        other.send(open_gate + open_gate)
        gateway.signal(signal.SIGTERM)
        raw.until(b"0\r\n\r\n")
    assert gateway.process.wait(10) == 0
    assert lives.read_text() == "began\nended\n"


STARTS_BADLY = """
from contextlib import asynccontextmanager
from fastapi import FastAPI

@asynccontextmanager
async def lifespan(app):
    raise OSError("no database today")
    yield

app = FastAPI(lifespan=lifespan)
"""


def test_a_start_up_that_fails_says_why(serve: Callable[..., Gateway], tmp_path: Path) -> None:
    (tmp_path / "site.py").write_text(STARTS_BADLY)
    config = f'routes: [{{match: /*, app: {{asgi: "{tmp_path}/site.py:app"}}}}]'
    gateway = serve(config, wait=False)
    assert gateway.process.wait(20) == 1
    assert "site.py:app: its start-up failed: OSError: no database today" in gateway.errors
