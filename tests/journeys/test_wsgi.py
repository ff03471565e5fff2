"""WSGI applications in the gateway's own process: Flask, and others that keep to PEP 3333 or do not."""

import json
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
SITE, PLAIN = APPS / "flask_site.py", APPS / "plain_wsgi.py"
CONFIG = f"""
limits: {{underscores: allow, body: 1MiB, body_timeout: 5s}}
executors:
  site: {{threads: 8}}
  one: {{threads: 1, queue: 1, timeout: 5s}}
  brief: {{threads: 2, timeout: 200ms}}
routes:
  - {{name: site, match: /site/*, strip: /site, app: {{wsgi: "{SITE}:app", executor: site}}}}
  - {{name: one, match: /one/*, strip: /one, app: {{wsgi: "{SITE}:app", executor: one}}}}
  - {{name: brief, match: /brief/*, strip: /brief, app: {{wsgi: "{SITE}:app", executor: brief}}}}
  - {{name: plain, match: /plain/*, strip: /plain, app: {{wsgi: "{PLAIN}:app"}}}}
  - {{name: whole, match: /whole/*, app: {{wsgi: "{PLAIN}:app"}}}}
  - name: edited
    match: /edited/*
    app: {{wsgi: "{PLAIN}:app"}}
    headers: {{request: {{set: {{x-tier: gold}}, remove: [cookie]}}, response: {{set: {{x-by: gateway}}}}}}
  - {{name: checked, match: /checked/*, app: {{wsgi: "{PLAIN}:checked"}}}}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(CONFIG, tmp_path_factory.mktemp("wsgi")) as gateway:
        yield gateway


# --- Flask -----------------------------------------------------------------------------------------------------------


def test_a_route_of_flask(gateway: Gateway, client: httpx.Client) -> None:
    answer = client.get("/site/hello/you?a=b%20c")
    assert answer.status_code == 200
    url = f"{gateway.base_url}/site/hello/you?a=b%20c"
    assert answer.json() == {"hello": "you", "ip": "127.0.0.1", "here": "/site/hello/you", "url": url}
    assert answer.headers["content-length"] == str(len(answer.content))
    line = gateway.logged(request_id=answer.headers["x-request-id"])
    assert (line["source"], line["route"], line["status"], line["reason"]) == ("app", "site", 200, None)
    assert 0 < line["executor_ms"] <= line["duration_ms"]
    until(lambda: gateway.metric("gateway_http_requests_total", route="site", source="app", code="200"))
    until(lambda: gateway.metric("gateway_executor_tasks_total", executor="site", outcome="ok"))


@pytest.mark.parametrize("size", [0, 5, 1024 * 1024])
def test_bodies_arrive_whole(client: httpx.Client, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    answer = client.post("/site/echo", content=body)
    assert (answer.content, answer.headers["x-length"]) == (body, str(size))


def test_a_body_in_chunks_has_a_length_for_the_application(ask: Callable[..., Answer]) -> None:
    answer = ask("/site/echo", b"Transfer-Encoding: chunked", method="POST", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert (answer.body, answer.get("x-length")) == (b"abcde", "5")


def test_the_application_is_entered_when_the_body_is_whole(gateway: Gateway) -> None:
    """So a client that is slow to send holds no thread: the one of this executor is free."""
    with Raw(gateway.port) as slow, Raw(gateway.port) as quick:
        slow.send(request(b"Content-Length: 4", line=b"POST /one/echo HTTP/1.1", body=b"ab"))
        assert quick.send(request(line=b"GET /one/hello/x HTTP/1.1")).answer().status == 200
        assert slow.send(b"cd").answer().body == b"abcd"


def test_a_body_beyond_the_limit_is_refused_before_the_application(ask: Callable[..., Answer]) -> None:
    answer = ask("/site/echo", b"Content-Length: 1048577", method="POST")
    assert (answer.status, answer.reason) == (413, "body_too_large")


def test_cookies_and_errors_are_the_applications(client: httpx.Client) -> None:
    assert [client.get("/site/login").json()["visits"] for _ in range(3)] == [1, 2, 3]
    assert set(client.cookies) == {"session", "second"}
    assert client.get("/site/teapot").status_code == 418
    assert client.get("/site/missing").status_code == 404
    assert client.put("/site/hello/you").status_code == 405


def test_head_has_the_head_of_get(client: httpx.Client) -> None:
    head, get = client.head("/site/hello/you"), client.get("/site/hello/you")
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]
    assert client.get("/site/hello/again").status_code == 200


def test_pieces_are_sent_before_the_next_is_made(gateway: Gateway, client: httpx.Client) -> None:
    with client.stream("GET", "/site/gated/a") as answer:
        lines = answer.iter_lines()
        for number in range(3):
            assert next(lines) == f"{number} of /gated/a"
            httpx.post(f"{gateway.base_url}/site/open/a")
        assert list(lines) == []


def test_a_slow_client_holds_no_thread(gateway: Gateway, client: httpx.Client) -> None:
    client.post("/one/forget")
    with Raw(gateway.port, receive_buffer=65536) as slow:
        slow.send(request(b"Connection: close", line=b"GET /one/large/16 HTTP/1.1"))
        slow.until(b"\r\n\r\n")
        seen = [client.get("/one/notes").json() for _ in range(20)]
        assert seen[-1]["made"] < 16 * 16, "not all was made for a client that takes nothing"
        assert seen[-1]["notes"] == []
        body = b"".join(_chunks(b"".join(slow.pieces())))
    assert body == b"".join(bytes([number % 251]) * 65536 for number in range(256))
    until(lambda: client.get("/one/notes").json()["notes"] == ["large closed", "response closed"])


def _chunks(data: bytes) -> Iterator[bytes]:
    at = 0
    while True:
        end = data.index(b"\r\n", at)
        size = int(data[at:end], 16)
        yield data[end + 2 : end + 2 + size]
        at = end + 4 + size
        if not size:
            return


def test_an_endless_answer_leaves_the_thread_to_others(gateway: Gateway, client: httpx.Client) -> None:
    enough = threading.Event()

    def take() -> None:
        with httpx.stream("GET", f"{gateway.base_url}/one/large/100000", trust_env=False) as answer:
            for _ in answer.iter_raw():
                if enough.is_set():
                    return

    taker = threading.Thread(target=take)
    taker.start()
    until(lambda: client.get("/one/notes").json()["made"] > 100)
    for _ in range(5):
        assert client.get("/one/hello/x").status_code == 200
    enough.set()
    taker.join(10)
    assert not taker.is_alive()


def test_an_answer_that_nobody_takes_any_more_is_closed(gateway: Gateway, client: httpx.Client) -> None:
    client.post("/one/forget")
    with Raw(gateway.port) as raw:
        raw.send(request(line=b"GET /one/large/100000 HTTP/1.1"))
        raw.until(b"\r\n\r\n")
    until(lambda: client.get("/one/notes").json()["notes"] == ["large closed", "response closed"])
    assert gateway.logged(path="/one/large/100000")["reason"] == "client_closed"


def test_an_answer_to_head_is_closed_without_being_made(client: httpx.Client) -> None:
    client.post("/one/forget")
    assert client.head("/one/large/1000").status_code == 200
    until(lambda: "response closed" in client.get("/one/notes").json()["notes"])
    assert client.get("/one/notes").json()["made"] < 16 * 3


def test_a_full_executor_refuses_at_once(gateway: Gateway) -> None:
    with Raw(gateway.port) as first, Raw(gateway.port) as second, Raw(gateway.port) as third:
        slow = request(line=b"GET /one/slow/1000 HTTP/1.1")
        busy = gateway.metric("gateway_executor_tasks_total", executor="one", outcome="rejected")
        first.send(slow)
        second.send(slow)
        answer = third.send(slow).answer()
        while answer.status == 200:
            answer = third.send(slow).answer()
        assert (answer.status, answer.reason) == (503, "executor_full")
        assert int(answer.get("retry-after") or 0) >= 1
        assert first.answer().body == second.answer().body == b"slow"
    until(lambda: gateway.metric("gateway_executor_tasks_total", executor="one", outcome="rejected") > busy)


def test_a_call_that_takes_too_long(gateway: Gateway, client: httpx.Client) -> None:
    answer = client.get("/brief/slow/1000")
    assert (answer.status_code, answer.headers["x-gateway-reason"]) == (504, "executor_timeout")
    assert "tests.support" not in answer.text
    assert client.get("/brief/hello/x").status_code == 200
    assert "flask_site.py:app did not end in time" in gateway.errors


def test_an_error_of_flask_is_answered_by_flask(gateway: Gateway, client: httpx.Client) -> None:
    answer = client.get("/site/raises")
    assert (answer.status_code, "x-gateway-reason" in answer.headers) == (500, False)
    assert "secret" not in answer.text
    until(lambda: "LookupError: a secret detail" in gateway.errors)


# --- PEP 3333 --------------------------------------------------------------------------------------------------------


def environ_of(answer: Answer) -> dict[str, str]:
    assert answer.status == 200, answer
    return dict(json.loads(answer.body))


def test_wsgiref_finds_nothing_wrong(ask: Callable[..., Answer]) -> None:
    for method, lines, body in (
        ("GET", (), b""),
        ("POST", (b"Content-Length: 4", b"Content-Type: text/plain", b"Cookie: a=1"), b"body"),
        ("POST", (b"Transfer-Encoding: chunked",), b"4\r\nbody\r\n0\r\n\r\n"),
    ):
        answer = ask("/checked/a%20b?q=1", *lines, method=method, body=body)
        assert (answer.status, answer.body) == (200, body[-4:].replace(b"\r\n\r\n", b"body") + b" checked"), answer


def test_the_whole_environment(gateway: Gateway, ask: Callable[..., Answer]) -> None:
    answer = ask("/plain/a%20b/%C3%BC//c?x=%20y&z", b"Content-Type: text/x", b"X-A: 1", b"x-a: 2", b"Cookie: a=1")
    environ = environ_of(answer)
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/plain",
        "PATH_INFO": "/a b/\xc3\xbc//c",
        "QUERY_STRING": "x=%20y&z",
        "REQUEST_URI": "/plain/a%20b/%C3%BC//c?x=%20y&z",
        "SERVER_NAME": "gateway.test",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "CONTENT_TYPE": "text/x",
        "HTTP_HOST": "gateway.test",
        "HTTP_X_A": "1, 2",
        "HTTP_COOKIE": "a=1",
        "HTTP_X_REQUEST_ID": answer.get("x-request-id"),
        "body": "",
    }
    assert {key: environ.get(key) for key in expected} == expected
    assert "CONTENT_LENGTH" not in environ


def test_without_strip_the_application_sees_the_whole_path(ask: Callable[..., Answer]) -> None:
    environ = environ_of(ask("/whole/a"))
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/whole/a")
    environ = environ_of(ask("/plain"))
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/plain", "/")


def test_fields_that_are_not_the_clients_to_set(ask: Callable[..., Answer]) -> None:
    environ = environ_of(
        ask(
            "/plain/x",
            b"X_A: underscore",
            b"X-Forwarded-For: 6.6.6.6",
            b"X-Forwarded-Prefix: /evil",
            b"Forwarded: for=6.6.6.6",
            b"X-Request-Id: mine",
            b"X-Gateway-User: root",
            b"Proxy: http://evil.test",
            b"Connection: x-b, close",
            b"X-B: 1",
        )
    )
    assert {"HTTP_X_A", "HTTP_PROXY", "HTTP_CONNECTION", "HTTP_X_B", "HTTP_FORWARDED"} & set(environ) == set()
    assert not any(key.startswith(("HTTP_X_FORWARDED", "HTTP_X_GATEWAY")) for key in environ)
    assert environ["HTTP_X_REQUEST_ID"] != "mine"


def test_header_edits_of_the_route(ask: Callable[..., Answer]) -> None:
    answer = ask("/edited/x", b"Cookie: a=1", b"X-Tier: lead")
    environ = environ_of(answer)
    assert (environ.get("HTTP_X_TIER"), environ.get("HTTP_COOKIE")) == ("gold", None)
    assert answer.get("x-by") == "gateway"


def test_fields_of_an_answer_that_are_the_gateways(ask: Callable[..., Answer]) -> None:
    answer = ask("/plain/hop-by-hop")
    for name in ("connection", "keep-alive", "transfer-encoding", "upgrade"):
        assert answer.get(name) is None
    assert "mine" not in (answer.get("x-request-id"), answer.get("date"))
    assert answer.all("set-cookie") == ["a=1", "b=2"]
    assert (answer.get("content-length"), answer.body) == ("1", b"x")


def test_no_content(ask: Callable[..., Answer]) -> None:
    answer = ask("/plain/no-content")
    assert (answer.status, answer.get("x-kept"), answer.get("content-length")) == (204, "1", None)


def test_old_applications_may_write(ask: Callable[..., Answer]) -> None:
    assert len(ask("/plain/writes").body) == 64 * 65536 + 3


@pytest.mark.parametrize("path", ["too-long", "too-short", "exits"])
def test_an_error_before_the_head(gateway: Gateway, client: httpx.Client, path: str) -> None:
    answer = client.get(f"/plain/{path}")
    assert (answer.status_code, answer.headers["x-gateway-reason"]) == (500, "handler_error")
    problem = answer.json()
    assert problem["type"] == "urn:gateway:handler_error"
    assert "Traceback" not in answer.text
    assert "plain_wsgi" not in answer.text
    until(lambda: f"request {problem['request_id']}: plain_wsgi.py:app failed" in gateway.errors)
    assert gateway.logged(request_id=problem["request_id"])["source"] == "gateway"


def test_an_error_behind_the_head_cuts_the_answer(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(request(line=b"GET /plain/broken-off HTTP/1.1"))
        answer = raw.rest()
    assert b"so far " in answer
    assert not answer.endswith(b"0\r\n\r\n")
    line = gateway.logged(path="/plain/broken-off")
    assert (line["status"], line["reason"]) == (200, "handler_error")
    until(lambda: "LookupError: a secret detail" in gateway.errors)


def test_close_is_called_once_for_each_answer(client: httpx.Client) -> None:
    before = client.get("/plain/closed").json()
    with suppress(httpx.RemoteProtocolError):
        client.get("/plain/broken-off")
    client.get("/plain/no-content")
    assert client.get("/plain/closed").json() == [*before, "/broken-off", "/no-content"]


def test_wsgi_errors_go_to_the_log(gateway: Gateway, ask: Callable[..., Answer]) -> None:
    ask("/plain/complains")
    until(lambda: "plain_wsgi.py:app: something is odd" in gateway.errors)
    until(lambda: "plain_wsgi.py:app: and it does not" in gateway.errors)
