"""What a client may cost, each limit with its reason; slow clients are cut and hurt nobody."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.corpus import request
from tests.support.gateway import Gateway
from tests.support.raw import Raw, talk
from tests.support.upstream import Recorded, Upstream, Wire, answering
from tests.support.wait import until

PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"


def _big(recorded: Recorded) -> bytes:
    path = recorded.line.split()[1][1:]
    size = int(path) if path.isdigit() else 2
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size


@pytest.fixture(scope="module")
def target() -> Iterator[Upstream]:
    with Upstream(answering(_big)) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(target: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = f"""
limits:
  line: 1KiB
  headers: 2KiB
  header_count: 10
  body: 1KiB
  header_timeout: 600ms
  body_timeout: 600ms
  keep_alive: 600ms
upstreams: {{u: "{target.url}"}}
routes:
  - {{name: all, match: "/*", to: u}}
  - {{name: small, match: "/small", to: u, body_limit: 10B}}
  - {{name: streamed, match: "/streamed", to: u, body_limit: 100KiB, buffer: {{request: 0B}}}}
  - {{name: unlimited, match: "/unlimited", to: u, body_limit: off}}
  - {{name: ping, match: /ping, respond: {{status: 200, body: pong}}}}
"""
    with Gateway(config, Path(tmp_path_factory.mktemp("gateway"))) as gateway:
        yield gateway


def _logged(gateway: Gateway, reason: str, path: str | None = None) -> dict[str, Any]:
    """The last line with that reason (and path: clients that left in other tests are logged, too)."""

    def found() -> list[dict[str, Any]]:
        lines = [each for each in gateway.access_log() if each["reason"] == reason]
        return [each for each in lines if path in (None, each["path"])]

    return until(found, what=reason)[-1]


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (request(line=b"GET /" + b"x" * 1100 + b" HTTP/1.1"), 414, "uri_too_long"),
        (b"GET /" + b"x" * 5000, 414, "uri_too_long"),
        (request(b"X: " + b"y" * 1100), 431, "headers_too_large"),
        (request(*[b"X: y"] * 10), 431, "headers_too_large"),
        (request(*[b"X: " + b"y" * 500] * 5), 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 5000, 431, "headers_too_large"),
        (request(b"Content-Length: 1025"), 413, "body_too_large"),
        (request(b"Content-Length: 11", line=b"POST /small HTTP/1.1"), 413, "body_too_large"),
        (
            request(b"Transfer-Encoding: chunked", body=b"401\r\n" + b"x" * 1025 + b"\r\n0\r\n\r\n"),
            413,
            "body_too_large",
        ),
        (request(b"Transfer-Encoding: chunked", body=b"0\r\n" + b"X: y\r\n" * 11 + b"\r\n"), 431, "headers_too_large"),
    ],
    ids=lambda value: ascii(value[:40]) if isinstance(value, bytes) else str(value),
)
def test_what_is_too_large(gateway: Gateway, target: Upstream, data: bytes, status: int, reason: str) -> None:
    target.requests.clear()
    with Raw(gateway.port) as raw:
        answer = raw.send(data).answer()
        assert (answer.status, answer.reason) == (status, reason)
    assert _logged(gateway, reason)["status"] == status
    assert target.requests == []


def test_what_just_fits(gateway: Gateway) -> None:
    line = b"GET /ping?" + b"x" * (1024 - len(b"GET /ping? HTTP/1.1")) + b" HTTP/1.1"
    assert len(line) == 1024
    fields = [b"X: y"] * 9
    with Raw(gateway.port) as raw:
        assert raw.send(request(*fields, line=line)).answer().status == 200
        assert raw.send(request(b"X: " + b"y" * 1000, line=b"GET /ping HTTP/1.1")).answer().status == 200
        assert (
            raw.send(request(b"Content-Length: 1024", line=b"POST /0 HTTP/1.1", body=b"x" * 1024)).answer().status
            == 200
        )


def test_a_body_over_its_limit_while_it_streams(gateway: Gateway, target: Upstream) -> None:
    target.requests.clear()
    with Raw(gateway.port) as raw:
        raw.send(request(b"Transfer-Encoding: chunked", line=b"POST /streamed HTTP/1.1", body=b"5\r\nhello\r\n"))
        raw.send(b"19000\r\n" + b"x" * 0x19000 + b"\r\n0\r\n\r\n")
        answer = raw.answer()
        assert (answer.status, answer.reason) == (413, "body_too_large")
    assert target.requests == []


def test_no_limit(gateway: Gateway, target: Upstream) -> None:
    target.requests.clear()
    body = b"x" * 3_000_000
    with Raw(gateway.port) as raw:
        raw.send(request(b"Content-Length: %d" % len(body), line=b"POST /unlimited HTTP/1.1", body=body))
        until(lambda: target.requests)
    assert target.requests[0].body == body


@pytest.mark.parametrize("sent", [b"", b"GET /ping HT", b"GET /ping HTTP/1.1\r\nX: y\r\n", b"\r\n"])
def test_a_head_that_stops(gateway: Gateway, sent: bytes) -> None:
    begun = time.monotonic()
    with Raw(gateway.port) as raw:
        rest = raw.send(sent).rest()
    assert 0.5 < time.monotonic() - begun < 5
    assert rest.startswith(b"HTTP/1.1 408 ") if sent else rest == b""


def test_a_head_that_drips(gateway: Gateway) -> None:
    begun = time.monotonic()
    with Raw(gateway.port) as raw:
        raw.send(b"GET /ping HTTP/1.1\r\nX: ")
        raw._sock.settimeout(0.1)
        while not raw.ended:
            raw.send(b"y")
            try:
                raw.receive()
            except TimeoutError:
                assert time.monotonic() - begun < 5
        assert time.monotonic() - begun > 0.5
    assert _logged(gateway, "request_timeout")["status"] == 408


@pytest.mark.parametrize("path", [b"/x", b"/streamed"])
def test_a_body_that_stops(gateway: Gateway, target: Upstream, path: bytes) -> None:
    target.requests.clear()
    begun = time.monotonic()
    with Raw(gateway.port) as raw:
        answer = raw.send(request(b"Content-Length: 10", line=b"POST " + path + b" HTTP/1.1", body=b"hello")).answer()
        assert (answer.status, answer.reason) == (408, "request_timeout")
        assert 0.5 < time.monotonic() - begun < 5
        assert raw.rest() == b""
    assert target.requests == []


def test_an_idle_connection_is_closed(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        assert raw.send(PING).answer().status == 200
        begun = time.monotonic()
        assert raw.rest() == b""
        assert 0.4 < time.monotonic() - begun < 5
        assert not raw.was_reset


def test_a_client_that_does_not_read_is_cut(gateway: Gateway) -> None:
    with Raw(gateway.port, receive_buffer=4096) as raw:
        raw.send(b"GET /30000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert _logged(gateway, "client_closed", "/30000000")["status"] == 499
        assert len(raw.rest()) < 30_000_000
    until(lambda: gateway.metric("gateway_upstream_requests_in_flight") == 0)
    until(lambda: gateway.metric("gateway_buffered_bytes") == 0)


def test_a_client_that_reads_slowly_is_served(gateway: Gateway) -> None:
    size = 6_000_000
    with Raw(gateway.port, receive_buffer=4096) as raw:
        raw.send(b"GET /%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % size)
        read, begun = 0, time.monotonic()
        while not raw.ended:
            piece = raw.receive(size // 20)
            read += len(piece)
            if time.monotonic() < begun + 2:
                time.sleep(0.05)  # slower than the upstream, and never still for long
        assert read > size


def test_slow_clients_hold_up_nobody(gateway: Gateway) -> None:
    slow = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(200)]
    try:
        for number, sock in enumerate(slow):
            sock.sendall((b"GET /x HT", request(b"Content-Length: 10", body=b"he"), b"")[number % 3])
        times = []
        for _ in range(50):
            begun = time.monotonic()
            assert talk(gateway.port, PING.replace(b"Host: a", b"Host: a\r\nConnection: close"))[0].status == 200
            times.append(time.monotonic() - begun)
        assert sorted(times)[40] < 0.2
        until(lambda: gateway.status()["workers"][0]["connections"] <= 1, what="all slow ones are cut")
    finally:
        for sock in slow:
            sock.close()


# --- limits of the whole gateway ------------------------------------------------------------------------------------


def test_connections(serve: Callable[..., Gateway]) -> None:
    gateway = serve(
        "limits: {connections: 3}\nroutes: [{name: ping, match: /ping, respond: {status: 200, body: pong}}]\n"
    )
    held = [Raw(gateway.port) for _ in range(3)]
    try:
        for raw in held:
            assert raw.send(PING).answer().status == 200
        with Raw(gateway.port) as more:
            rest = more.send(PING).rest()
            assert rest == b"" or rest.startswith(b"HTTP/1.1 503 ")
        for raw in held:
            assert raw.send(PING).answer().status == 200
    finally:
        for raw in held:
            raw.__exit__(None, None, None)

    def serves() -> bool:
        with Raw(gateway.port) as raw:
            return (
                raw.send(PING.replace(b"Host: a", b"Host: a\r\nConnection: close")).rest().startswith(b"HTTP/1.1 200 ")
            )

    until(serves, what="there is room again")
    until(lambda: gateway.metric("gateway_connections_rejected_total") >= 1)


def test_buffered_bytes(serve: Callable[..., Gateway], upstream: Callable[..., Upstream]) -> None:
    """Past the limit slow readers are cut; who reads is served. What is held of an answer may be any part of a read."""

    async def endless(wire: Wire) -> None:
        recorded = await wire.request()
        if recorded.line.startswith(b"GET /big"):
            await wire.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 9_000_000)
            await wire.eof()
        else:
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    source = upstream(endless)
    gateway = serve(
        f'limits: {{buffered: 16B}}\nupstreams: {{u: "{source.url}"}}\nroutes: [{{name: all, match: /*, to: u}}]\n'
    )
    with Raw(gateway.port, receive_buffer=4096) as slow:
        slow.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        logged = _logged(gateway, "shed_overload")
        assert (logged["path"], logged["status"]) == ("/big", 200)
        with Raw(gateway.port) as raw:
            assert raw.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").answer().status == 200
        assert len(slow.rest()) < 9_000_000
    until(lambda: gateway.metric("gateway_buffered_bytes") == 0)


def test_bodies_that_came_slowly_are_held_within_the_limit_too(
    serve: Callable[..., Gateway], upstream: Callable[..., Upstream]
) -> None:
    """When all of them began there was room. At most three are let through at a time, and those are."""
    gateway = serve(
        f'limits: {{buffered: 1MiB}}\nupstreams: {{u: "{upstream().url}"}}\n'
        "routes: [{name: all, match: /*, to: u, buffer: {request: 1MiB}}]\n"
    )
    begun = request(b"Content-Length: 400000", line=b"POST /x HTTP/1.1", body=b"x" * 100_000)
    with ExitStack() as stack:
        slow = [stack.enter_context(Raw(gateway.port)).send(begun) for _ in range(8)]
        until(lambda: gateway.metric("gateway_buffered_bytes") == 800_000)
        for raw in slow:
            raw.send(b"x" * 250_000)
        until(lambda: gateway.metric("gateway_responses_generated_total", reason="shed_overload") >= 5)
        answers = [raw.send(b"x" * 50_000).answer() for raw in slow]
    assert {(each.status, each.reason) for each in answers} == {(200, None), (503, "shed_overload")}
    until(lambda: gateway.metric("gateway_buffered_bytes") == 0)


def test_a_body_for_python_is_held_within_the_limit_too(serve: Callable[..., Gateway], tmp_path: Path) -> None:
    """A route without `body_limit` that collects bodies refuses one that the gateway has no room for."""
    (tmp_path / "code.py").write_text("async def size(request): return {'size': len(request.body)}\n")
    gateway = serve(
        "limits: {buffered: 1MiB}\n"
        f'routes: [{{name: all, match: /*, body_limit: off, handler: "{tmp_path}/code.py:size"}}]\n'
    )
    with Raw(gateway.port) as raw:
        small = request(b"Content-Length: 100000", body=b"x" * 100_000)
        assert raw.send(small).answer().body == b'{"size":100000}'
    with Raw(gateway.port) as raw:
        answer = raw.send(request(b"Content-Length: 3000000", body=b"x" * 3_000_000)).answer()
    assert (answer.status, answer.reason) == (503, "shed_overload")
    until(lambda: gateway.metric("gateway_buffered_bytes") == 0)
