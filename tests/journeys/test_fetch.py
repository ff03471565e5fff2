"""Calls out of the users' Python: `request.gateway.fetch`, and its twin that blocks."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.asking import get, log_of
from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.upstream import Recorded, Upstream, Wire
from tests.support.wait import until

SHOP = """
import asyncio, os, time
from concurrent.futures import ThreadPoolExecutor
from gateway import FetchError, Response

def told(fetched):
    return {"status": fetched.status, "type": fetched.headers.get("content-type"), "body": fetched.body.decode()}

ARGUMENTS = {"headers": {"X-Tier": "gold", "Host": "evil", "X-Request-Id": "evil", "Connection": "close"}}
async def soon(request): return told(await request.gateway.fetch("u", "/seen?a=%20", **ARGUMENTS))
def plain(request): return told(request.gateway.fetch_blocking("u", "/seen?a=%20", **ARGUMENTS))
async def post(request): return told(await request.gateway.fetch("u", "/seen", method="POST", json={"n": 1}))
def post_plain(request): return told(request.gateway.fetch_blocking("u", "/seen", method="PUT", body=b"raw"))
async def passes_on(request): return await request.gateway.fetch("u", request.args["path"])
def passes_on_plain(request): return request.gateway.fetch_blocking("u", request.args["path"])
async def many(request):
    found = await asyncio.gather(*[request.gateway.fetch("u", f"/slowly/{n}") for n in range(5)])
    return [each.status for each in found]
async def dead(request): return await request.gateway.fetch("dead", "/")
def dead_plain(request): return request.gateway.fetch_blocking("dead", "/")
async def catches(request):
    try:
        await request.gateway.fetch("dead", "/")
    except FetchError as error:
        return {"reason": error.reason}
async def late(request): return await request.gateway.fetch("u", "/never", timeout_s=0.1)
def late_plain(request): return request.gateway.fetch_blocking("u", "/never", timeout_s=0.1)
async def never(request): return await request.gateway.fetch("u", "/never", timeout_s=60)
def never_plain(request): return request.gateway.fetch_blocking("u", "/never")
async def stalls(request): return request.gateway.fetch_blocking("u", "/seen")

WRONG = {
    "upstream": lambda fetch: fetch("none", "/"),
    "path": lambda fetch: fetch("u", "/a b"),
    "line": lambda fetch: fetch("u", "/a\\r\\nX-Evil: 1"),
    "relative": lambda fetch: fetch("u", "a"),
    "method": lambda fetch: fetch("u", "/", method="G ET"),
    "field": lambda fetch: fetch("u", "/", headers={"X": "a\\r\\nX-Evil: 1"}),
}
async def wrong(request):
    try:
        await WRONG[request.args["what"]](request.gateway.fetch)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
def in_process(request): request.gateway
"""

NAMES = (
    "soon plain post post_plain passes_on passes_on_plain many dead dead_plain catches late late_plain never"
    " never_plain stalls wrong"
).split()


async def serve(wire: Wire) -> None:
    """Answers as the path says."""
    while True:
        recorded = await wire.request()
        line = recorded.line
        if b"/never" in line:
            await wire.eof()
            return
        if b"/cut" in line:
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab")
            wire.close()
            return
        if b"/chunked" in line:
            await wire.send(
                b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n"
                b"X-Up: 1\r\nConnection: X-Up\r\nKeep-Alive: timeout=5\r\n\r\n"
            )
            await wire.send(b"2\r\nab\r\n2\r\ncd\r\n0\r\nX-Trailer: t\r\n\r\n")
        elif b"/nothing" in line:
            await wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif b"/fails" in line:
            await wire.send(b"HTTP/1.1 503 Down\r\nContent-Length: 4\r\nRetry-After: 9\r\n\r\ndown")
        else:
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture(scope="module")
def target() -> Iterator[Upstream]:
    with Upstream(serve) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(target: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("gateway")
    (directory / "shop.py").write_text(SHOP)
    routes = "".join(f'  - {{name: {name}, match: /{name}, handler: "shop.py:{name}"}}\n' for name in NAMES)
    config = f"""
upstreams: {{u: "{target.url}", dead: "http://127.0.0.1:1"}}
executors: {{default: {{threads: 4}}, apart: {{processes: 1}}}}
routes:
{routes}
  - {{name: short, match: /short, timeout: 200ms, handler: "shop.py:never"}}
  - {{name: short-plain, match: /short-plain, timeout: 200ms, handler: "shop.py:never_plain"}}
  - {{name: in-process, match: /in-process, handler: {{run: "shop.py:in_process", executor: apart}}}}
"""
    with Gateway(config, directory) as started:
        yield started


def last(target: Upstream) -> Recorded:
    return target.requests[-1]


@pytest.mark.parametrize("path", ["/soon", "/plain"])
def test_a_fetch_asks_an_upstream_of_the_config(gateway: Gateway, target: Upstream, path: str) -> None:
    answer = get(gateway, path, "Connection: x-private", "X-Private: 1", "Cookie: private=1")
    assert json.loads(answer.body) == {"status": 200, "type": "text/x", "body": "ok"}
    sent = last(target)
    assert sent.line == b"GET /seen?a=%20 HTTP/1.1"
    assert sent.fields("x-tier") == ["gold"]
    assert sent.fields("host") == [target.address]
    assert sent.fields("x-request-id") == [answer.get("x-request-id")]
    assert sent.fields("via")[0].startswith("1.1 floodgate-")
    assert sent.fields("cookie") == sent.fields("connection") == []


def test_bodies_are_framed_for_it(gateway: Gateway, target: Upstream) -> None:
    assert get(gateway, "/post").status == 200
    sent = last(target)
    assert (sent.line, sent.body) == (b"POST /seen HTTP/1.1", b'{"n":1}')
    assert (sent.fields("content-type"), sent.fields("content-length")) == (["application/json"], ["7"])
    assert get(gateway, "/post_plain").status == 200
    assert (last(target).line, last(target).body) == (b"PUT /seen HTTP/1.1", b"raw")


def test_connections_are_kept_and_shared(gateway: Gateway, target: Upstream) -> None:
    get(gateway, "/soon")
    before = target.connections
    for path in ("/soon", "/plain") * 5:
        assert get(gateway, path).status == 200
    assert target.connections == before


def test_many_run_side_by_side(gateway: Gateway) -> None:
    assert json.loads(get(gateway, "/many").body) == [200] * 5


@pytest.mark.parametrize("how", ["passes_on", "passes_on_plain"])
@pytest.mark.parametrize(
    ("path", "status", "body"),
    [("/chunked", 201, b"abcd"), ("/nothing", 204, b""), ("/fails", 503, b"down"), ("/seen", 200, b"ok")],
)
def test_what_was_fetched_can_be_passed_on(gateway: Gateway, how: str, path: str, status: int, body: bytes) -> None:
    answer = get(gateway, f"/{how}?path={path}")
    assert (answer.status, answer.body, answer.reason) == (status, body, None)
    assert answer.get("transfer-encoding") is None
    assert answer.get("keep-alive") is None
    assert answer.get("x-up") is None  # Connection names it
    if path == "/fails":
        assert answer.get("retry-after") == "9"


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/dead", 502, "connect_refused"),
        ("/dead_plain", 502, "connect_refused"),
        ("/passes_on?path=/cut", 502, "upstream_reset"),
        ("/late", 504, "upstream_timeout"),
        ("/late_plain", 504, "upstream_timeout"),
    ],
)
def test_a_fetch_in_vain_that_nobody_catches_is_the_answer(
    gateway: Gateway, path: str, status: int, reason: str
) -> None:
    began = time.monotonic()
    answer = get(gateway, path)
    assert (answer.status, answer.reason) == (status, reason)
    assert time.monotonic() - began < 2


def test_a_fetch_in_vain_can_be_caught(gateway: Gateway) -> None:
    assert json.loads(get(gateway, "/catches").body) == {"reason": "connect_refused"}


@pytest.mark.parametrize("path", ["/short", "/short-plain"])
def test_a_fetch_ends_with_its_request(gateway: Gateway, target: Upstream, path: str) -> None:
    began = time.monotonic()
    answer = get(gateway, path)
    assert answer.status == 504
    assert answer.reason in ("upstream_timeout", "handler_error", "executor_timeout")
    assert time.monotonic() - began < 2
    until(lambda: in_flight(gateway, target) == 0)


def test_a_client_that_leaves_frees_the_upstream(gateway: Gateway, target: Upstream) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: in_flight(gateway, target) == 1)
        raw.reset()
    until(lambda: in_flight(gateway, target) == 0)


def in_flight(gateway: Gateway, target: Upstream) -> float:
    name = f'gateway_upstream_requests_in_flight{{target="{target.address}",upstream="u"}} '
    _, text = gateway.admin("/metrics")
    return next((float(line[len(name) :]) for line in text.splitlines() if line.startswith(name)), 0.0)


def test_the_blocking_twin_refuses_to_stall_the_loop(gateway: Gateway) -> None:
    answer = get(gateway, "/stalls")
    assert answer.reason == "handler_error"
    assert "RuntimeError: fetch_blocking would stall the event loop" in log_of(gateway, answer)


def test_a_process_has_no_gateway(gateway: Gateway) -> None:
    answer = get(gateway, "/in-process")
    assert answer.reason == "handler_error"
    assert "request.gateway is not there in an executor of processes" in log_of(gateway, answer)


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("upstream", "KeyError: \"the config has no upstream 'none'; it has dead, u\""),
        ("path", "ValueError: GET '/a b': a path begins with /"),
        ("line", "ValueError: GET"),
        ("relative", "ValueError: GET 'a'"),
        ("method", "ValueError: G ET '/'"),
        ("field", "ValueError: the value of X holds a character"),
    ],
)
def test_what_cannot_be_sent_is_refused(gateway: Gateway, target: Upstream, what: str, error: str) -> None:
    before = len(target.requests)
    answer: dict[str, Any] = json.loads(get(gateway, f"/wrong?what={what}").body)
    assert answer["error"].startswith(error)
    assert len(target.requests) == before


def test_what_fetches_do_is_counted_with_the_upstream(gateway: Gateway, target: Upstream) -> None:
    get(gateway, "/soon")
    name = f'gateway_upstream_requests_total{{code="200",target="{target.address}",upstream="u"}}'
    until(lambda: name in gateway.admin("/metrics")[1])
