"""Routes answered by the users' Python: what it sees, what it may return, and what becomes of it when it fails."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.asking import get, line_of, log_of
from tests.support.gateway import Gateway
from tests.support.http import Answer, read_answer
from tests.support.raw import Raw
from tests.support.wait import until

SHOP = '''
import asyncio, logging, os, sys, threading, time
from gateway import Headers, Request, Response

log = logging.getLogger("shop")

class Quote:
    pass

RESULTS = {
    "dict": lambda: {"a": [1, None]},
    "list": lambda: [1, 2],
    "text": lambda: "h\\u00e9",
    "bytes": lambda: b"\\x00\\x01",
    "none": lambda: None,
    "response": lambda: Response("made", status=201, headers={"X-Made": "yes", "Content-Length": "999"}),
    "json": lambda: Response(json={}, status=422),
    "repeated": lambda: Response("", headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]),
    "empty": lambda: Response(status=304, headers={"ETag": "x"}),
    "quote": lambda: Quote(),
    "number": lambda: 3,
    "tuple": lambda: ({}, 404),
    "unserializable": lambda: {"a": Quote()},
}

def plain(request: Request): return RESULTS[request.params["kind"]]()
async def soon(request: Request): return RESULTS[request.params["kind"]]()
def forgotten(request): return soon(request)

def seen(request: Request):
    return {
        "method": request.method, "path": request.path, "query": request.query, "args": request.args,
        "headers": request.headers.items(), "params": request.params, "cookies": request.cookies,
        "client_ip": request.client_ip, "request_id": request.request_id, "body": request.body.decode(),
        "left_s": request.deadline - time.monotonic(), "thread": threading.current_thread().name,
    }

async def seen_soon(request): return seen(request)
async def echo(request): return {"got": request.json()}
def echo_plain(request): return {"got": request.json()}

def fails(request): raise KeyError("the secret")
async def fails_soon(request): raise KeyError("the secret")
async def leaves(request): sys.exit(3)
def leaves_plain(request): sys.exit(3)
async def cancels(request): raise asyncio.CancelledError
async def times_out(request): raise TimeoutError("of theirs")

async def waits(request):
    log.warning("waiting")
    try:
        await asyncio.sleep(60)
    finally:
        log.warning("wait ended")

gate = threading.Event()
def blocks(request): gate.wait(20); return "unblocked"
def opens(request): gate.set(); return "opened"
def hangs(request): time.sleep(0.6)

ticket = None
async def ticking(request):
    """One piece at a time: the next is made when /tick/next was asked."""
    global ticket
    try:
        for number in range(int(request.args.get("count", "3"))):
            yield b"%d" % number
            ticket = asyncio.Event()
            await ticket.wait()
        if "fail" in request.args:
            raise KeyError("the secret")
    finally:
        log.warning("ticking ended")

async def next_tick(request):
    ticket.set()

plain_ticket = threading.Event()
def ticking_plain(request):
    try:
        for number in range(3):
            yield b"%d" % number
            plain_ticket.wait(20)
            plain_ticket.clear()
        if "fail" in request.args:
            raise KeyError("the secret")
    finally:
        log.warning("plain ticking ended")

def next_plain_tick(request): plain_ticket.set()

produced = {"async": 0, "plain": 0}
async def endless(request):
    while True:
        produced["async"] += 65536
        yield bytes(65536)

def endless_plain(request):
    try:
        while True:
            produced["plain"] += 65536
            yield bytes(65536)
    finally:
        log.warning("plain endless ended")

async def how_much(request): return produced

async def hurried(request):
    """Never waits."""
    for _ in range(200_000):
        yield b"x" * 10

async def sized(request):
    async def body():
        for piece in request.args["pieces"].split(","):
            yield piece.encode()
    return Response(body(), headers={"Content-Length": request.args["length"], "Content-Type": "text/x"})

def fails_at_first(request):
    raise KeyError("the secret")
    yield b""

async def wrong_pieces(request):
    yield b"good"
    yield "text"

async def nothing(request):
    return
    yield b""

async def events(request):
    async def body():
        await asyncio.sleep(60)
        yield b""
    return Response(body(), headers={"Content-Type": "text/event-stream"})

class Unclosable:
    def __aiter__(self): return self
    async def __anext__(self): raise StopAsyncIteration
async def own_iterator(request): return Response(Unclosable())

def in_process(request):
    how = request.args.get("how")
    if how == "pid": return {"pid": os.getpid(), "state": request.state, "body": request.body.decode()}
    if how == "quote": return {"quote": Quote()}
    if how == "local": return (lambda: 3)
    if how == "error": raise KeyError("the secret")
    if how == "json": return request.json()
    if how == "generator": return (b"%d" % n for n in range(3))
    if how == "pieces": return Response([b"a", b"b"], status=201)
    if how == "wrong": return Quote()
    if how == "dies": os._exit(3)
    if how == "hangs": time.sleep(60)
    if how == "log": log.warning("from a process")
async def pid(request): return {"pid": os.getpid()}
async def process_pieces(request): return Response(iter([b"a", b"b"]))
'''

ROUTES = {
    "seen": "/seen/{name}/{id}",
    "seen_soon": "/seen-soon",
    "plain": "/plain/{kind}",
    "soon": "/soon/{kind}",
    **{
        name: f"/{name}"
        for name in (
            "forgotten echo echo_plain fails fails_soon leaves leaves_plain cancels times_out waits opens ticking"
            " next_tick ticking_plain next_plain_tick endless endless_plain how_much hurried sized fails_at_first"
            " wrong_pieces nothing events own_iterator process_pieces pid"
        ).split()
    },
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("gateway")
    (directory / "shop.py").write_text(SHOP)
    routes = "".join(
        f'  - {{name: {name}, match: "{path}", handler: "shop.py:{name}"}}\n' for name, path in ROUTES.items()
    )
    config = f"""
executors:
  default: {{threads: 8}}
  narrow: {{threads: 1, queue: 1, timeout: 5s}}
  apart: {{processes: 1, timeout: 1s}}
  brief: {{threads: 2, timeout: 200ms}}
routes:
{routes}
  - {{name: in-process, match: /in-process, handler: {{run: "shop.py:in_process", executor: apart}}}}
  - {{name: blocks, match: /blocks, handler: {{run: "shop.py:blocks", executor: narrow}}}}
  - {{name: brief, match: /brief, handler: {{run: "shop.py:hangs", executor: brief}}}}
  - {{name: short, match: /short, handler: {{run: "shop.py:waits", timeout: 100ms}}}}
  - {{name: route-short, match: /route-short, timeout: 100ms, handler: "shop.py:waits"}}
  - {{name: idle, match: /idle, timeout: 200ms, handler: "shop.py:ticking"}}
  - {{name: small, match: /small, body_limit: 1KiB, handler: "shop.py:echo"}}
  - name: edited
    match: "/edited/{{kind}}"
    handler: "shop.py:soon"
    headers: {{response: {{set: {{x-edited: "1"}}, remove: [x-made]}}}}
  - {{name: ping, match: /ping, respond: {{status: 200, body: pong}}}}
"""
    with Gateway(config, directory) as started:
        yield started


def ended(gateway: Gateway, path: str, **wanted: Any) -> dict[str, Any]:
    """The first access log line of that path that says what is wanted."""
    wanted["path"] = path
    return until(
        lambda: next((line for line in gateway.access_log() if line.items() >= wanted.items()), None),
        what=f"{wanted} in {gateway.access_log()[-3:]}",
    )


# --- what may be returned --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["plain", "soon"])
@pytest.mark.parametrize(
    ("kind", "status", "content_type", "body"),
    [
        ("dict", 200, "application/json", b'{"a":[1,null]}'),
        ("list", 200, "application/json", b"[1,2]"),
        ("text", 200, "text/plain; charset=utf-8", "h\u00e9".encode()),
        ("bytes", 200, "application/octet-stream", b"\x00\x01"),
        ("none", 204, None, b""),
        ("response", 201, "text/plain; charset=utf-8", b"made"),
        ("json", 422, "application/json", b"{}"),
        ("repeated", 200, "text/plain; charset=utf-8", b""),
        ("empty", 304, None, b""),
    ],
)
def test_what_a_handler_returns_is_the_answer(
    gateway: Gateway, how: str, kind: str, status: int, content_type: str | None, body: bytes
) -> None:
    answer = get(gateway, f"/{how}/{kind}")
    assert (answer.status, answer.get("content-type"), answer.body, answer.whole) == (status, content_type, body, True)
    assert answer.reason is None
    line = line_of(gateway, answer)
    assert (line["source"], line["reason"], line["status"]) == ("handler", None, status)


def test_fields_of_a_response_go_out_and_framing_stays_ours(gateway: Gateway) -> None:
    answer = get(gateway, "/plain/response")
    assert answer.get("x-made") == "yes"
    assert answer.get("content-length") == "4"
    assert get(gateway, "/plain/repeated").all("set-cookie") == ["a=1", "b=2"]
    edited = get(gateway, "/edited/response")
    assert (edited.get("x-edited"), edited.get("x-made")) == ("1", None)


@pytest.mark.parametrize("how", ["plain", "soon"])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("quote", "returned Quote: return a Response, dict or list (JSON), str, bytes, or None (204)"),
        ("number", "returned int: return a Response"),
        ("tuple", "returned tuple: return a Response"),
        ("unserializable", "returned what is no JSON: Type is not JSON serializable: Quote"),
    ],
)
def test_a_wrong_result_is_an_error_that_says_what_to_return(gateway: Gateway, how: str, kind: str, said: str) -> None:
    answer = get(gateway, f"/{how}/{kind}")
    assert (answer.status, answer.reason) == (500, "handler_error")
    assert "Quote" not in answer.body.decode()
    assert f"shop.py:{how} {said}" in log_of(gateway, answer).splitlines()[0]


def test_a_def_that_returns_a_coroutine_is_told_to_be_async(gateway: Gateway) -> None:
    answer = get(gateway, "/forgotten")
    assert (answer.status, answer.reason) == (500, "handler_error")
    assert "returned a coroutine, but it is a plain def: make it `async def`" in log_of(gateway, answer)


@pytest.mark.parametrize("how", ["plain", "soon"])
def test_head_gets_the_head_that_get_would(gateway: Gateway, how: str) -> None:
    answer = get(gateway, f"/{how}/dict", method="HEAD")
    assert (answer.status, answer.get("content-length"), answer.body) == (200, "14", b"")


# --- what it sees ----------------------------------------------------------------------------------------------------


def test_a_handler_sees_the_request(gateway: Gateway) -> None:
    answer = get(
        gateway,
        "/seen/a%20b/./7?x=1&y=%20z",
        *("Cookie: session=abc", "X-Tier: gold", "X-Gateway-Secret: 1", "Connection: x-gone", "X-Gone: 1"),
        method="POST",
        body=b"the body",
    )
    seen = json.loads(answer.body)
    assert seen["method"] == "POST"
    assert seen["path"] == "/seen/a%20b/7"
    assert seen["query"] == "x=1&y=%20z"
    assert seen["args"] == {"x": "1", "y": " z"}
    assert seen["params"] == {"name": "a b", "id": "7"}
    assert seen["cookies"] == {"session": "abc"}
    assert seen["client_ip"] == "127.0.0.1"
    assert seen["request_id"] == answer.get("x-request-id")
    assert seen["body"] == "the body"
    assert 28 < seen["left_s"] <= 30
    names = {name.lower(): value for name, value in seen["headers"]}
    assert names["host"] == "shop.test"
    assert names["x-tier"] == "gold"
    assert names.keys().isdisjoint({"x-gateway-secret", "connection", "x-gone"})


def test_a_def_runs_on_an_executor_and_an_async_def_on_the_loop(gateway: Gateway) -> None:
    assert json.loads(get(gateway, "/seen/a/b").body)["thread"].startswith("executor-default-")
    assert json.loads(get(gateway, "/seen-soon").body)["thread"] == "MainThread"


@pytest.mark.parametrize("path", ["/echo", "/echo_plain"])
def test_a_body_that_is_not_json_is_the_clients_fault(gateway: Gateway, path: str) -> None:
    answer = get(gateway, path, method="POST", body=b"{")
    assert (answer.status, answer.reason) == (400, "bad_request")
    assert "not valid JSON" in json.loads(answer.body)["detail"]


@pytest.mark.parametrize("path", ["/echo", "/echo_plain"])
def test_a_body_in_pieces_is_seen_whole(gateway: Gateway, path: str) -> None:
    with Raw(gateway.port) as raw:
        raw.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n".encode())
        for _ in range(40):
            raw.send(b"1000\r\n" + b" " * 4096 + b"\r\n")
        raw.send(b"2\r\n,2\r\n1\r\n]\r\n0\r\n\r\n")
        assert json.loads(raw.answer().body) == {"got": [1, 2]}


def test_a_client_that_waits_is_told_to_go_on(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert raw.answer().status == 100
        raw.send(b"[]")
        assert json.loads(raw.answer().body) == {"got": []}


def test_a_body_beyond_its_limit_never_reaches_the_handler(gateway: Gateway) -> None:
    answer = get(gateway, "/small", method="POST", body=b" " * 1025)
    assert (answer.status, answer.reason) == (413, "body_too_large")
    with Raw(gateway.port) as raw:
        raw.send(
            b"POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + b" " * 0x400 + b"\r\n"
        )
        assert get(gateway, "/ping").body == b"pong"
        assert raw.send(b"1\r\n \r\n").answer().reason == "body_too_large"


# --- when it fails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/fails", "/fails_soon"])
def test_an_exception_is_in_the_log_and_nothing_of_it_in_the_answer(gateway: Gateway, path: str) -> None:
    answer = get(gateway, path)
    assert (answer.status, answer.reason) == (500, "handler_error")
    assert b"secret" not in answer.body
    assert json.loads(answer.body)["request_id"] == answer.get("x-request-id")
    log = log_of(gateway, answer)
    first, second, third, *_ = log.splitlines()
    assert first.startswith(f"{answer.get('x-request-id')}: shop.py{path.replace('/', ':')} failed (KeyError: ")
    assert second == "    Traceback (most recent call last):"
    assert third.endswith(f'/shop.py", line {SHOP.splitlines().index(_line(path)) + 1}, in {path[1:]}')
    assert line_of(gateway, answer)["reason"] == "handler_error"


def _line(path: str) -> str:
    return next(line for line in SHOP.splitlines() if f"def {path[1:]}(" in line)


@pytest.mark.parametrize("path", ["/leaves", "/leaves_plain", "/cancels", "/times_out"])
def test_whatever_a_handler_raises_is_an_error_of_its_own_request(gateway: Gateway, path: str) -> None:
    with Raw(gateway.port) as raw:
        raw.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer = raw.answer()
        assert (answer.status, answer.reason) == (500, "handler_error")
        raw.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.answer().body == b"pong"


@pytest.mark.parametrize("path", ["/short", "/route-short"])
def test_an_async_def_that_takes_too_long_is_cancelled(gateway: Gateway, path: str) -> None:
    began = time.monotonic()
    answer = get(gateway, path)
    assert (answer.status, answer.reason) == (504, "handler_error")
    assert time.monotonic() - began < 2
    assert "shop.py:waits took longer than 0.1s" in log_of(gateway, answer)


def test_a_def_that_takes_too_long_is_given_up(gateway: Gateway) -> None:
    answer = get(gateway, "/brief")
    assert (answer.status, answer.reason) == (504, "executor_timeout")


def test_a_full_executor_refuses_at_once(gateway: Gateway) -> None:
    with Raw(gateway.port) as first, Raw(gateway.port) as second:
        first.send(b"GET /blocks HTTP/1.1\r\nHost: a\r\n\r\n")
        second.send(b"GET /blocks HTTP/1.1\r\nHost: a\r\n\r\n")

        def refused() -> Answer | None:
            answer = get(gateway, "/ping")  # proxied traffic goes on beside
            assert answer.body == b"pong"
            began = time.monotonic()
            answer = get(gateway, "/blocks") if depth(gateway) >= 1 else answer
            assert time.monotonic() - began < 1
            return answer if answer.status == 503 else None

        answer = until(refused)
        assert answer.reason == "executor_full"
        assert int(answer.get("retry-after") or "0") >= 1
        assert get(gateway, "/opens").body == b"opened"
        assert [first.answer().body, second.answer().body] == [b"unblocked", b"unblocked"]


def depth(gateway: Gateway) -> float:
    """Calls that wait for the executor `narrow`."""
    _, text = gateway.admin("/metrics")
    lines = [line for line in text.splitlines() if line.startswith('gateway_executor_queue_depth{executor="narrow"')]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


def test_a_client_that_leaves_cancels_the_handler(gateway: Gateway) -> None:
    before = gateway.errors.count("wait ended")
    with Raw(gateway.port) as raw:
        raw.send(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n")
        waiting = gateway.errors.count("waiting")
        until(lambda: gateway.errors.count("waiting") > max(waiting - 1, 0) or None)
        raw.reset()
        until(lambda: gateway.errors.count("wait ended") > before)
    ended(gateway, "/waits", status=499, reason="client_closed")


# --- in pieces -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "go_on"), [("/ticking", "/next_tick"), ("/ticking_plain", "/next_plain_tick")])
def test_pieces_go_out_as_they_are_made(gateway: Gateway, path: str, go_on: str) -> None:
    with Raw(gateway.port) as raw:
        raw.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        for piece in (b"0", b"1", b"2"):
            raw.until(b"1\r\n" + piece + b"\r\n")
            assert get(gateway, go_on).status == 204
        raw.until(b"0\r\n\r\n")
        raw.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.answer().body == b"pong"
    line = ended(gateway, path, status=200, bytes_out=3, source="handler", reason=None)
    assert line["overhead_ms"] < line["duration_ms"]


@pytest.mark.parametrize(("path", "go_on"), [("/ticking", "/next_tick"), ("/ticking_plain", "/next_plain_tick")])
def test_an_error_amid_the_pieces_cuts_the_connection(gateway: Gateway, path: str, go_on: str) -> None:
    with Raw(gateway.port) as raw:
        raw.send(f"GET {path}?fail=1 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        for piece in (b"0", b"1", b"2"):
            raw.until(b"1\r\n" + piece + b"\r\n")
            get(gateway, go_on)
        assert not raw.rest().endswith(b"0\r\n\r\n")
    ended(gateway, path, status=200, reason="handler_error")
    assert "failed while its answer was sent (KeyError" in gateway.errors


@pytest.mark.parametrize(
    ("path", "said"), [("/ticking", "ticking ended"), ("/endless_plain", "plain endless ended"), ("/ticking_plain", "")]
)
def test_a_client_that_leaves_closes_the_iterator(gateway: Gateway, path: str, said: str) -> None:
    said = said or "plain ticking ended"
    before = gateway.errors.count(said)
    with Raw(gateway.port) as raw:
        raw.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        raw.until(b"\r\n\r\n")
        raw.reset()
        if path == "/ticking_plain":  # a thread that waits cannot be stopped: it is closed at its next piece
            ended(gateway, path, reason="client_closed")
            get(gateway, "/next_plain_tick")
        until(lambda: gateway.errors.count(said) > before)
    ended(gateway, path, reason="client_closed")


@pytest.mark.parametrize(("path", "kind"), [("/endless", "async"), ("/endless_plain", "plain")])
def test_a_slow_client_holds_the_iterator_back(gateway: Gateway, path: str, kind: str) -> None:
    with Raw(gateway.port, receive_buffer=4096) as raw:
        raw.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        raw.until(b"\r\n\r\n")

        def produced() -> int:
            return int(json.loads(get(gateway, "/how_much").body)[kind])

        until(produced)
        seen = [produced()]

        def settled() -> bool:
            seen.append(produced())
            return len(seen) > 20 and len(set(seen[-20:])) == 1

        until(settled, what=f"{seen[-3:]}")
        assert seen[-1] < 8 * 1024 * 1024
        assert get(gateway, "/ping").body == b"pong"


def test_an_iterator_that_never_waits_leaves_others_their_turn(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"GET /hurried HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        raw.until(b"\r\n\r\n")
        began = time.monotonic()
        assert get(gateway, "/ping").body == b"pong"
        assert time.monotonic() - began < 0.5
        assert raw.rest().count(b"xxxxxxxxxx") == 200_000


def test_an_error_ahead_of_the_first_piece_is_an_answer(gateway: Gateway) -> None:
    answer = get(gateway, "/fails_at_first")
    assert (answer.status, answer.reason) == (500, "handler_error")


def test_pieces_that_are_no_bytes_cut_the_connection(gateway: Gateway) -> None:
    assert is_cut(gateway, "/wrong_pieces")
    assert "TypeError: the pieces of a body are bytes, not str" in gateway.errors


@pytest.mark.parametrize("path", ["/nothing", "/own_iterator"])
def test_no_piece_at_all_is_an_empty_answer(gateway: Gateway, path: str) -> None:
    answer = get(gateway, path)
    assert (answer.status, answer.body, answer.get("content-length")) == (200, b"", "0")


def test_a_plain_iterator_of_an_async_def_runs_on_the_executor(gateway: Gateway) -> None:
    answer = get(gateway, "/process_pieces")
    assert (answer.status, answer.body, answer.whole) == (200, b"ab", True)


def test_the_head_of_an_event_stream_goes_out_at_once(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"text/event-stream" in raw.until(b"\r\n\r\n")
    ended(gateway, "/events", stream="sse")


def test_a_stated_length_is_kept_or_the_connection_is_cut(gateway: Gateway) -> None:
    answer = get(gateway, "/sized?length=4&pieces=ab,cd")
    assert (answer.status, answer.body, answer.get("content-length"), answer.whole) == (200, b"abcd", "4", True)
    assert is_cut(gateway, "/sized?length=5&pieces=ab,cd")
    assert is_cut(gateway, "/sized?length=3&pieces=ab,cd")
    assert "the body is longer than its content-length" in gateway.errors
    assert "the body is 1 bytes shorter than its content-length" in gateway.errors


def is_cut(gateway: Gateway, path: str) -> bool:
    """Whether the connection ends before the answer does."""
    with Raw(gateway.port) as raw:
        data = raw.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).rest()
    return not data or not read_answer(data, "GET", True)[0].whole


def test_pieces_to_a_client_of_http_1_0_end_with_the_connection(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"GET /process_pieces HTTP/1.0\r\nHost: a\r\n\r\n")
        data = raw.rest()
    assert data.endswith(b"\r\n\r\nab")
    assert b"chunked" not in data


def test_head_of_what_comes_in_pieces_has_no_body(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"HEAD /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.answer("HEAD").status == 200
        raw.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.answer().body == b"pong"


def test_pieces_that_do_not_come_within_the_routes_timeout_cut_the_connection(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"GET /idle HTTP/1.1\r\nHost: a\r\n\r\n")
        data = raw.rest()
    assert data.endswith(b"1\r\n0\r\n")
    ended(gateway, "/idle", reason="handler_error")
    assert "shop.py:ticking had no more within 0.2s" in gateway.errors


# --- in another process ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "status", "body"),
    [("generator", 200, b"012"), ("pieces", 201, b"ab"), ("json", 400, None), ("none", 204, b"")],
)
def test_what_a_handler_in_a_process_returns_is_the_answer(
    gateway: Gateway, how: str, status: int, body: bytes | None
) -> None:
    answer = get(gateway, f"/in-process?how={how}", method="POST", body=b"{")
    assert (answer.status, answer.reason) == (status, "bad_request" if body is None else None)
    assert body is None or answer.body == body


def test_a_handler_can_run_in_another_process(gateway: Gateway) -> None:
    said = [json.loads(get(gateway, "/in-process?how=pid", method="POST", body=b"sent").body) for _ in range(2)]
    assert said[0] == said[1]
    assert said[0]["body"] == "sent"
    assert str(said[0]["pid"]) not in {str(gateway.pid)}
    assert said[0]["pid"] != json.loads(get(gateway, "/pid").body)["pid"]


@pytest.mark.parametrize(
    ("how", "reason", "said"),
    [
        ("error", "handler_error", "KeyError: 'the secret' at "),
        ("quote", "handler_error", "Type is not JSON serializable: Quote"),
        ("wrong", "handler_error", "returned Quote: return a Response"),
        ("local", "handler_error", "returned function: return a Response"),
        ("dies", "handler_error", "ended in the middle of the call (exit code 3)"),
        ("hangs", "executor_timeout", None),
    ],
)
def test_a_failure_in_a_process_costs_its_own_request(
    gateway: Gateway, how: str, reason: str, said: str | None
) -> None:
    answer = get(gateway, f"/in-process?how={how}")
    assert answer.reason == reason
    assert b"secret" not in answer.body
    if said is not None:
        assert said in log_of(gateway, answer)
    until(lambda: get(gateway, "/in-process").status == 204)


def test_what_a_process_logs_names_the_request(gateway: Gateway) -> None:
    answer = get(gateway, "/in-process?how=log")
    assert "from a process" in log_of(gateway, answer).splitlines()[0]


# --- the log ---------------------------------------------------------------------------------------------------------


def test_the_log_tells_the_time_on_the_executor_from_our_own(gateway: Gateway) -> None:
    line = line_of(gateway, get(gateway, "/brief"))
    assert line["executor_ms"] > 150
    assert line["overhead_ms"] < 100
    assert line_of(gateway, get(gateway, "/soon/dict"))["executor_ms"] is None


def test_the_requests_are_counted_with_their_source(gateway: Gateway) -> None:
    get(gateway, "/soon/dict")
    name = 'gateway_http_requests_total{code="200",method="GET",route="soon",source="handler"}'
    until(lambda: name in gateway.admin("/metrics")[1])
