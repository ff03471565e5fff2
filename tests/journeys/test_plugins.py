"""The users' Python that is asked before an answer is made, and told of it before it goes out."""

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from tests.support.asking import get, line_of, log_of
from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.upstream import Recorded, Upstream, Wire
from tests.support.wait import until

SHOP = '''
import asyncio, logging, os, threading, time
from gateway import Response

log = logging.getLogger("shop")

def first(request): request.state["trail"] = ["first"]
async def second(request): request.state["trail"].append("second")
def third(request):
    request.state["trail"].append("third")
    request.headers["X-Trail"] = ",".join(request.state["trail"])

def rewrite(request):
    request.path = "/other/%41"
    request.query = "q=%20"
    request.headers["X-Tier"] = "gold"
    request.headers.add("X-Twice", "1")
    request.headers.add("X-Twice", "2")
    request.headers.pop("Cookie")
    request.headers.pop("User-Agent")

def replace_body(request): request.body = request.body.upper() + b"!"
def replace_headers(request): request.headers = {"x-only": "this"}

def meddle(request):
    for name in ("Host", "X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Request-Id", "Content-Length",
                 "Transfer-Encoding", "Connection", "Upgrade", "X-Gateway-Secret"):
        request.headers[name] = "meddled"

def bad_path(request): request.path = "/a b"
def bad_query(request): request.query = "a\\r\\nX-Evil: 1"

ANSWERS = {
    "forbidden": lambda: Response(status=403),
    "login": lambda: Response("who are you", status=401, headers={"WWW-Authenticate": "Basic"}),
    "slower": lambda: Response(status=429),
    "later": lambda: Response(status=503, headers={"Retry-After": "7"}),
    "fine": lambda: Response("from the plugin"),
    "moved": lambda: Response(status=302, headers={"Location": "/elsewhere"}),
    "pieces": lambda: Response(iter([b"a", b"b"])),
    "pass": lambda: None,
    "true": lambda: True,
    "dict": lambda: {},
}
def answer(request): return ANSWERS[request.args["a"]]()
async def answer_soon(request): return ANSWERS[request.args["a"]]()

REFUSED, REPLACED = Response(status=403), Response("kept", headers={"X-Kept": "1"})
def refuse(request): return REFUSED
class Replace:
    def on_response(self, request, response): return REPLACED

def fail(request):
    request.headers["X-Half"] = "done"
    request.state["half"] = "done"
    raise KeyError("the secret")
async def fail_soon(request): fail(request)

def slow(request):
    time.sleep(0.5)
    request.headers["X-Late"] = "yes"
async def slow_soon(request):
    log.warning("slow begins")
    try:
        await asyncio.sleep(20)
    finally:
        log.warning("slow ended")

gate = threading.Event()
def hold(request): gate.wait(20)
async def open_gate(request): gate.set()

def parse(request): request.json()
async def fetch(request): await request.gateway.fetch("dead", "/")
def look(request): request.headers["X-Seen"] = str(request.has_body and len(request.body))
def need_body(request): request.body

class Elsewhere:
    """In another process."""
    def on_request(self, request):
        request.headers["X-Pid"] = str(os.getpid())
        request.path = "/from-elsewhere"
        request.state["elsewhere"] = [1]
        if "fail" in request.args:
            raise KeyError("the secret")
    def on_response(self, request, response):
        response.headers["X-Told"] = str(request.state["elsewhere"] + [os.getpid()])
        if response.body is not None:
            response.body = response.body + b" elsewhere"

class Outer:
    def on_request(self, request): pass
    def on_response(self, request, response):
        response.headers["X-Order"] = response.headers.get("x-order", "") + "outer."
class Inner:
    async def on_request(self, request):
        if "inner" in request.args: return Response("inner", status=int(request.args["inner"]))
    async def on_response(self, request, response):
        response.headers["X-Order"] = response.headers.get("x-order", "") + "inner."
class Last:
    def on_response(self, request, response):
        response.headers["X-Order"] = response.headers.get("x-order", "") + "last."

class Change:
    """What the query says is done to the answer."""
    def on_response(self, request, response):
        args = request.args
        whole = "streams" if response.body is None else f"{len(response.body)} bytes"
        response.headers["X-Saw"] = f"{response.status} {whole} {response.headers.get('content-length')}"
        if "status" in args: response.status = int(args["status"])
        if "body" in args: response.body = args["body"]
        if "fail" in args: raise KeyError("the secret")
        if "wrong" in args: return 3
        if "other" in args: return Response(json={"other": 1}, status=201, headers={"X-Other": "1"})
        if "frame" in args: response.headers["Content-Length"] = "1"
        if "id" in args: response.headers["X-Request-Id"] = "mine"
        if "same" in args: return response

class Slow:
    async def on_response(self, request, response):
        response.headers["X-Half"] = "done"
        log.warning("told slowly")
        try:
            await asyncio.sleep(float(request.args.get("s", "20")))
        finally:
            log.warning("slow telling ended")
        response.headers["X-Done"] = "yes"
class SlowPlain:
    def on_response(self, request, response):
        time.sleep(float(request.args.get("s", "0.4")))
        response.headers["X-Done"] = "yes"

def set_body(request): request.body = b"set"
async def asgi(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["raw_path"])]})
    await send({"type": "http.response.body", "body": body})
def wsgi(environ, start_response):
    start_response("200 OK", [("X-Path", environ["PATH_INFO"])])
    return [environ["wsgi.input"].read()]

def handle(request): return {"state": {k: v for k, v in request.state.items()}, "path": request.path,
                             "headers": request.headers.items(), "body": request.body.decode()}
async def handle_fails(request): raise KeyError("the secret")
async def handle_pieces(request):
    yield b"a"
    yield b"b"
'''

# name: (plugins, what answers)
TO = "to: u"
ROUTES: dict[str, tuple[str, str]] = {
    "order": ("[{run: 'shop.py:first'}, {run: 'shop.py:second'}, {run: 'shop.py:third'}]", TO),
    "rewrite": ("['shop.py:rewrite']", f"{TO}, rewrite: /never"),
    "body": ("['shop.py:replace_body']", TO),
    "headers": ("['shop.py:replace_headers']", TO),
    "meddle": ("['shop.py:meddle']", TO),
    "bad-path": ("['shop.py:bad_path']", TO),
    "bad-query": ("['shop.py:bad_query']", TO),
    "handled": ("['shop.py:rewrite', 'shop.py:first', 'shop.py:replace_body']", "handler: 'shop.py:handle'"),
    "app-asgi": ("['shop.py:rewrite', 'shop.py:replace_body']", "app: {asgi: 'shop.py:asgi'}"),
    "app-wsgi": ("['shop.py:rewrite', 'shop.py:replace_body']", "app: {wsgi: 'shop.py:wsgi'}"),
    "set-body": ("['shop.py:set_body']", f"{TO}, buffer: {{request: 1KiB}}"),
    "set-body-asgi": ("['shop.py:set_body']", "app: {asgi: 'shop.py:asgi'}, buffer: {request: 1KiB}"),
    "answer": ("['shop.py:answer', 'shop.py:third']", TO),
    "answer-soon": ("['shop.py:answer_soon', 'shop.py:third']", TO),
    "refuse": ("['shop.py:refuse']", TO),
    "replace": ("['shop.py:Outer', 'shop.py:Replace']", TO),
    "fail": ("['shop.py:fail']", TO),
    "fail-soon": ("['shop.py:fail_soon']", TO),
    "fail-allow": ("[{run: 'shop.py:fail', on_error: allow}, {run: 'shop.py:fail_soon', on_error: allow}]", TO),
    "fail-handled": ("[{run: 'shop.py:fail', on_error: allow}]", "handler: 'shop.py:handle'"),
    "slow": ("[{run: 'shop.py:slow', timeout: 100ms}]", TO),
    "slow-soon": ("[{run: 'shop.py:slow_soon', timeout: 100ms}]", TO),
    "slow-executor": ("[{run: 'shop.py:slow', executor: brief}]", TO),
    "slow-allow": (
        "[{run: 'shop.py:slow', timeout: 100ms, on_error: allow},"
        " {run: 'shop.py:slow_soon', timeout: 100ms, on_error: allow}]",
        TO,
    ),
    "waits": ("['shop.py:slow_soon']", TO),
    "hold": ("[{run: 'shop.py:hold', executor: narrow}]", TO),
    "hold-allow": ("[{run: 'shop.py:hold', executor: narrow, on_error: allow}]", TO),
    "open": ("['shop.py:open_gate']", "respond: {status: 200, body: open}"),
    "parse": ("[{run: 'shop.py:parse', on_error: allow}]", TO),
    "fetch": ("['shop.py:fetch']", TO),
    "fetch-allow": ("[{run: 'shop.py:fetch', on_error: allow}]", TO),
    "look": ("['shop.py:look']", f"{TO}, buffer: {{request: 1KiB}}"),
    "need-body": ("['shop.py:need_body']", f"{TO}, buffer: {{request: 1KiB}}"),
    "elsewhere": ("[{run: 'shop.py:Elsewhere', executor: apart}]", TO),
    "told": ("['shop.py:Outer', 'shop.py:Inner', 'shop.py:Last']", TO),
    "told-respond": ("['shop.py:Outer']", "respond: {status: 200, body: fixed}"),
    "told-redirect": ("['shop.py:Outer']", "redirect: /there"),
    "told-handler": ("['shop.py:Outer', 'shop.py:Change']", "handler: 'shop.py:handle'"),
    "told-handler-fails": ("['shop.py:Outer']", "handler: 'shop.py:handle_fails'"),
    "told-pieces": ("['shop.py:Outer', 'shop.py:Change']", "handler: 'shop.py:handle_pieces'"),
    "told-dead": ("['shop.py:Outer', 'shop.py:Change']", "to: dead"),
    "change": ("['shop.py:Outer', 'shop.py:Change']", TO),
    "change-allow": ("[{run: 'shop.py:Change', on_error: allow}]", TO),
    "tell-slowly": ("['shop.py:Slow']", TO),
    "tell-timeout": ("['shop.py:Outer', {run: 'shop.py:Slow', timeout: 100ms}]", TO),
    "tell-timeout-allow": ("[{run: 'shop.py:Slow', timeout: 100ms, on_error: allow}]", TO),
    "tell-plain": ("['shop.py:SlowPlain']", TO),
    "tell-plain-timeout": ("[{run: 'shop.py:SlowPlain', timeout: 100ms}]", TO),
}


release = asyncio.Event()
"""Lets the upstream go on with the answer under `held`."""


async def serve(wire: Wire) -> None:
    """Answers as the path says."""
    while True:
        recorded = await wire.request()
        line = recorded.line.decode()
        if "chunked" in line:
            await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Up: 1\r\n\r\n")
            await wire.send(b"2\r\nab\r\n")
            if "held" in line:
                await release.wait()
            elif "endless" in line:
                await wire.eof()
            await wire.send(b"2\r\ncd\r\n0\r\nX-Trailer: t\r\n\r\n")
        elif "split" in line:
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            await wire.send(b"cd")
        elif "big" in line:
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 33554432\r\n\r\n")
            for _ in range(512):
                await wire.send(bytes(65536))
        elif "nothing" in line:
            await wire.send(b"HTTP/1.1 204 No Content\r\nX-Up: 1\r\n\r\n")
        elif "upgrade" in line:
            await wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
            await wire.eof()
            return
        else:
            length = b"4" if recorded.line.startswith(b"HEAD") else b"2"
            body = b"" if recorded.line.startswith(b"HEAD") else b"ok"
            await wire.send(b"HTTP/1.1 200 OK\r\nX-Up: 1\r\nContent-Length: " + length + b"\r\n\r\n" + body)


@pytest.fixture(scope="module")
def target() -> Iterator[Upstream]:
    with Upstream(serve) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(target: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("gateway")
    (directory / "shop.py").write_text(SHOP)
    routes = "".join(
        f'  - {{name: {name}, match: "/{name}/*", {answer}, plugins: {plugins}}}\n'
        for name, (plugins, answer) in ROUTES.items()
    )
    config = f"""
upstreams: {{u: "{target.url}", dead: "http://127.0.0.1:1"}}
executors:
  narrow: {{threads: 1, queue: 0, timeout: 10s}}
  brief: {{threads: 2, timeout: 200ms}}
  apart: {{processes: 1, timeout: 10s}}
routes:
{routes}
"""
    with Gateway(config, directory) as started:
        yield started


def last(target: Upstream) -> Recorded:
    return target.requests[-1]


# --- asked -----------------------------------------------------------------------------------------------------------


def test_plugins_are_asked_in_the_order_of_the_file(gateway: Gateway, target: Upstream) -> None:
    assert get(gateway, "/order/x").body == b"ok"
    assert last(target).fields("x-trail") == ["first,second,third"]


def test_what_a_plugin_changes_goes_to_the_upstream(gateway: Gateway, target: Upstream) -> None:
    answer = get(gateway, "/rewrite/x?was=1", "Cookie: a=1", "User-Agent: me", "X-Kept: 1")
    assert answer.status == 200
    sent = last(target)
    assert sent.line == b"GET /other/%41?q=%20 HTTP/1.1"
    assert sent.fields("x-tier") == ["gold"]
    assert sent.fields("x-twice") == ["1", "2"]
    assert sent.fields("x-kept") == ["1"]
    assert sent.fields("cookie") == sent.fields("user-agent") == []
    assert sent.fields("host") == ["shop.test"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_changed_body_is_framed_anew(gateway: Gateway, target: Upstream, chunked: bool) -> None:
    framing = "Transfer-Encoding: chunked\r\n" if chunked else "Content-Length: 5\r\n"
    body = b"5\r\nhello\r\n0\r\n\r\n" if chunked else b"hello"
    with Raw(gateway.port) as raw:
        raw.send(f"POST /body/x HTTP/1.1\r\nHost: a\r\n{framing}\r\n".encode() + body)
        assert raw.answer().body == b"ok"
    assert last(target).body == b"HELLO!"
    assert last(target).fields("content-length") == ["6"]
    assert last(target).fields("transfer-encoding") == []


def test_all_headers_can_be_replaced(gateway: Gateway, target: Upstream) -> None:
    get(gateway, "/headers/x", "X-Gone: 1", method="POST", body=b"abc")
    assert last(target).fields("x-only") == ["this"]
    assert last(target).fields("x-gone") == []
    assert last(target).fields("host") == ["shop.test"]
    assert (last(target).body, last(target).fields("content-length")) == (b"abc", ["3"])


def test_what_is_the_gateways_to_say_stays_its_own(gateway: Gateway, target: Upstream) -> None:
    answer = get(gateway, "/meddle/x", method="POST", body=b"abc")
    assert answer.status == 200
    sent = last(target)
    assert b"meddled" not in sent.head
    assert sent.fields("host") == ["shop.test"]
    assert sent.fields("content-length") == ["3"]
    assert sent.fields("x-forwarded-for") == ["127.0.0.1"]
    assert sent.fields("x-request-id") == [answer.get("x-request-id")]


@pytest.mark.parametrize("path", ["/bad-path/x", "/bad-query/x"])
def test_no_plugin_can_break_the_request_line(gateway: Gateway, target: Upstream, path: str) -> None:
    before = len(target.requests)
    answer = get(gateway, path)
    assert (answer.status, answer.reason) == (500, "plugin_error")
    assert len(target.requests) == before
    assert "characters that must be encoded" in log_of(gateway, answer)


def test_what_plugins_change_reaches_the_handler(gateway: Gateway) -> None:
    seen = json.loads(get(gateway, "/handled/x", "Cookie: a=1", method="POST", body=b"abc").body)
    assert (seen["path"], seen["body"], seen["state"]) == ("/other/%41", "ABC!", {"trail": ["first"]})
    names = {name.lower() for name, _ in seen["headers"]}
    assert "x-tier" in names
    assert "cookie" not in names


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_what_plugins_change_reaches_the_application(gateway: Gateway, kind: str) -> None:
    answer = get(gateway, f"/app-{kind}/x", method="POST", body=b"abc")
    assert (answer.status, answer.body, answer.get("x-path")) == (200, b"ABC!", PATHS[kind])


PATHS = {"asgi": "/other/%41", "wsgi": "/other/A"}


# --- early answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["answer", "answer-soon"])
@pytest.mark.parametrize(
    ("kind", "status", "field", "body"),
    [
        ("login", 401, ("www-authenticate", "Basic"), b"who are you"),
        ("forbidden", 403, ("content-type", "application/problem+json"), None),
        ("slower", 429, ("retry-after", "1"), None),
        ("later", 503, ("retry-after", "7"), None),
    ],
)
def test_a_plugin_can_refuse(
    gateway: Gateway, target: Upstream, how: str, kind: str, status: int, field: tuple[str, str], body: bytes | None
) -> None:
    before = len(target.requests)
    answer = get(gateway, f"/{how}/x?a={kind}")
    assert (answer.status, answer.reason, answer.get(field[0])) == (status, "plugin_denied", field[1])
    if body is None:
        problem = json.loads(answer.body)
        assert (problem["type"], problem["status"]) == ("urn:gateway:plugin_denied", status)
        assert problem["request_id"] == answer.get("x-request-id")
    else:
        assert answer.body == body
    line = line_of(gateway, answer)
    assert (line["status"], line["reason"], line["source"]) == (status, "plugin_denied", "gateway")
    assert len(target.requests) == before


@pytest.mark.parametrize("how", ["answer", "answer-soon"])
@pytest.mark.parametrize(
    ("kind", "status", "body"), [("fine", 200, b"from the plugin"), ("moved", 302, b""), ("pieces", 200, b"ab")]
)
def test_a_plugin_can_answer(gateway: Gateway, target: Upstream, how: str, kind: str, status: int, body: bytes) -> None:
    before = len(target.requests)
    answer = get(gateway, f"/{how}/x?a={kind}")
    assert (answer.status, answer.body, answer.reason) == (status, body, None)
    line = line_of(gateway, answer)
    assert (line["reason"], line["source"]) == (None, "handler")
    assert len(target.requests) == before


def test_a_response_that_a_plugin_keeps_stays_as_it_is(gateway: Gateway) -> None:
    for _ in range(2):
        answer = get(gateway, "/refuse/x")
        assert json.loads(answer.body)["request_id"] == answer.get("x-request-id")
        answer = get(gateway, "/replace/x")
        assert (answer.body, answer.get("x-kept"), answer.get("x-order")) == (b"kept", "1", "outer.")


@pytest.mark.parametrize("kind", ["true", "dict"])
def test_anything_else_is_an_error_that_says_what_to_return(gateway: Gateway, kind: str) -> None:
    answer = get(gateway, f"/answer/x?a={kind}")
    assert (answer.status, answer.reason) == (500, "plugin_error")
    assert ": return None to let the request pass, or a Response" in log_of(gateway, answer)


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fail", "fail-soon"])
def test_a_plugin_that_fails_denies(gateway: Gateway, target: Upstream, how: str) -> None:
    before = len(target.requests)
    answer = get(gateway, f"/{how}/x")
    assert (answer.status, answer.reason) == (500, "plugin_error")
    assert b"secret" not in answer.body
    assert "KeyError: 'the secret'" in log_of(gateway, answer)
    assert ", in fail\n" in log_of(gateway, answer)
    assert len(target.requests) == before


def test_a_plugin_that_may_fail_leaves_no_trace(gateway: Gateway, target: Upstream) -> None:
    answer = get(gateway, "/fail-allow/x")
    assert (answer.status, answer.reason) == (200, None)
    assert last(target).fields("x-half") == []
    assert gateway.errors.count(f"{answer.get('x-request-id')}: plugin shop.py:fail") == 2
    assert json.loads(get(gateway, "/fail-handled/x").body)["state"] == {}


@pytest.mark.parametrize(
    ("how", "reason"),
    [("slow", "plugin_timeout"), ("slow-soon", "plugin_timeout"), ("slow-executor", "executor_timeout")],
)
def test_a_plugin_that_is_slow_denies(gateway: Gateway, how: str, reason: str) -> None:
    began = time.monotonic()
    answer = get(gateway, f"/{how}/x")
    assert (answer.status, answer.reason) == (504, reason)
    assert time.monotonic() - began < 0.45


def test_a_plugin_that_may_be_slow_is_left_behind(gateway: Gateway, target: Upstream) -> None:
    began = time.monotonic()
    answer = get(gateway, "/slow-allow/x")
    assert (answer.status, answer.reason) == (200, None)
    assert 0.2 <= time.monotonic() - began < 0.48
    assert last(target).fields("x-late") == []
    plugins = line_of(gateway, answer)["plugins"]
    assert 90 < plugins["shop.py:slow"] < 300
    assert 90 < plugins["shop.py:slow_soon"] < 300


def test_a_full_executor_denies_or_is_passed_by(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"GET /hold/x HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: get(gateway, "/hold-allow/x").status == 200)
        answer = get(gateway, "/hold/x")
        assert (answer.status, answer.reason) == (503, "executor_full")
        assert int(answer.get("retry-after") or 0) >= 1
        assert get(gateway, "/open/x").body == b"open"
        assert raw.answer().body == b"ok"


def test_json_that_is_none_is_the_clients_fault_whatever_is_allowed(gateway: Gateway) -> None:
    answer = get(gateway, "/parse/x", method="POST", body=b"{")
    assert (answer.status, answer.reason) == (400, "bad_request")


def test_an_upstream_that_a_plugin_asks_in_vain(gateway: Gateway) -> None:
    answer = get(gateway, "/fetch/x")
    assert (answer.status, answer.reason) == (502, "connect_refused")
    assert get(gateway, "/fetch-allow/x").status == 200


def test_a_client_that_leaves_cancels_the_plugin(gateway: Gateway) -> None:
    begun, over = (gateway.errors.count(f"slow {each}") for each in ("begins", "ended"))
    with Raw(gateway.port) as raw:
        raw.send(b"GET /waits/x HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: gateway.errors.count("slow begins") > begun)
        raw.reset()
        until(lambda: gateway.errors.count("slow ended") > over)


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "seen"), [(0, "0"), (1024, "1024"), (1025, "False"), (300_000, "False")])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_plugin_sees_bodies_up_to_the_buffer(
    gateway: Gateway, target: Upstream, size: int, seen: str, chunked: bool
) -> None:
    body = bytes(size)
    with Raw(gateway.port) as raw:
        if chunked:
            pieces = b"".join(b"%x\r\n" % len(each) + each + b"\r\n" for each in (body[:700], body[700:]) if each)
            raw.send(b"POST /look/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n")
        else:
            raw.send(f"POST /look/x HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode() + body)
        assert raw.answer().body == b"ok"
    sent = last(target)
    assert sent.fields("x-seen") == [seen]
    assert (len(sent.body) if sent.fields("content-length") else dechunked(sent.body)) == size


def dechunked(raw: bytes) -> int:
    size = 0
    while raw:
        line, _, raw = raw.partition(b"\r\n")
        length = int(line, 16)
        size += length
        raw = raw[length + 2 :]
    return size


def test_a_plugin_that_needs_a_larger_body_says_what_to_raise(gateway: Gateway) -> None:
    answer = get(gateway, "/need-body/x", method="POST", body=bytes(2000))
    assert (answer.status, answer.reason) == (500, "plugin_error")
    assert "buffer.request" in log_of(gateway, answer)


@pytest.mark.parametrize("path", ["/set-body/x", "/set-body-asgi/x"])
def test_a_body_that_was_too_large_to_be_seen_cannot_be_replaced(gateway: Gateway, path: str) -> None:
    for size, expected in ((0, 200), (1024, 200), (1025, 500), (300_000, 500)):
        assert get(gateway, path, method="POST", body=bytes(size)).status == expected, size


# --- in another process ----------------------------------------------------------------------------------------------


def test_a_plugin_in_a_process_changes_the_request_and_the_answer_here(gateway: Gateway, target: Upstream) -> None:
    answer = get(gateway, "/elsewhere/x?a=1", method="POST", body=b"abc")
    assert (answer.status, answer.body) == (200, b"ok elsewhere")
    sent = last(target)
    assert sent.line == b"POST /from-elsewhere?a=1 HTTP/1.1"
    assert sent.body == b"abc"
    pid = sent.fields("x-pid")[0]
    assert pid != str(gateway.pid)
    assert answer.get("x-told") == f"[1, {pid}]"


def test_an_error_in_a_process_is_logged_with_its_traceback(gateway: Gateway) -> None:
    answer = get(gateway, "/elsewhere/x?fail=1")
    assert (answer.status, answer.reason) == (500, "plugin_error")
    log = log_of(gateway, answer)
    assert "KeyError: 'the secret' at " in log
    assert ", in on_request\n" in log


# --- told ------------------------------------------------------------------------------------------------------------


def test_plugins_are_told_in_the_reverse_order(gateway: Gateway) -> None:
    answer = get(gateway, "/told/x")
    assert (answer.status, answer.body, answer.get("x-order")) == (200, b"ok", "last.inner.outer.")
    assert answer.get("x-up") == "1"


@pytest.mark.parametrize("status", [200, 403])
def test_only_who_was_asked_before_is_told_of_an_early_answer(gateway: Gateway, status: int) -> None:
    answer = get(gateway, f"/told/x?inner={status}")
    assert (answer.status, answer.body, answer.get("x-order")) == (status, b"inner", "outer.")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/told-respond/x", 200),
        ("/told-redirect/x", 308),
        ("/told-handler/x", 200),
        ("/told-handler-fails/x", 500),
        ("/told-dead/x", 502),
    ],
)
def test_any_answer_of_the_route_is_told(gateway: Gateway, path: str, status: int) -> None:
    answer = get(gateway, path)
    assert (answer.status, answer.get("x-order")) == (status, "outer.")
    assert answer.get("x-request-id")
    assert answer.get("date")


@pytest.mark.parametrize(
    ("query", "status", "body", "saw"),
    [
        ("", 200, b"ok", "200 2 bytes None"),
        ("status=418", 418, b"ok", "200 2 bytes None"),
        ("body=longer%20text", 200, b"longer text", "200 2 bytes None"),
        ("body=", 200, b"", "200 2 bytes None"),
        ("status=204", 204, b"", "200 2 bytes None"),
        ("same=1", 200, b"ok", "200 2 bytes None"),
        ("frame=1", 200, b"ok", "200 2 bytes None"),
        ("id=1", 200, b"ok", "200 2 bytes None"),
    ],
)
def test_a_whole_answer_can_be_changed(gateway: Gateway, query: str, status: int, body: bytes, saw: str) -> None:
    answer = get(gateway, f"/change/x?{query}")
    assert (answer.status, answer.body, answer.get("x-saw")) == (status, body, saw)
    assert answer.get("content-length") == (None if status == 204 else str(len(body)))
    assert answer.get("x-request-id") != "mine"
    assert line_of(gateway, answer)["status"] == status


def test_another_answer_can_take_its_place(gateway: Gateway) -> None:
    answer = get(gateway, "/change/x?other=1")
    assert (answer.status, json.loads(answer.body), answer.get("x-other")) == (201, {"other": 1}, "1")
    assert answer.get("x-up") is None
    assert answer.get("x-order") == "outer."


@pytest.mark.parametrize("path", ["/change/split", "/told-dead/x", "/told-handler/x"])
def test_an_answer_of_known_length_is_seen_whole(gateway: Gateway, path: str) -> None:
    answer = get(gateway, f"{path}?body=new")
    assert answer.body == b"new"
    assert "streams" not in (answer.get("x-saw") or "streams")


def test_of_an_answer_that_streams_the_head_can_be_changed(gateway: Gateway, target: Upstream) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"GET /change/chunked-held?status=203 HTTP/1.1\r\nHost: a\r\n\r\n")
        head = raw.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 203 ")
        assert b"\r\nX-Saw: 200 streams None\r\n" in head
        assert raw.until(b"\r\nab\r\n") == b"2\r\nab\r\n"
        target.run(release.set)
        assert raw.until(b"\r\n\r\n").startswith(b"2\r\ncd\r\n0\r\n")


def test_what_a_handler_makes_in_pieces_streams_through_the_telling(gateway: Gateway) -> None:
    answer = get(gateway, "/told-pieces/x?status=203")
    assert (answer.status, answer.body, answer.whole, answer.get("x-saw")) == (203, b"ab", True, "200 streams None")


def test_trailers_pass_through_the_telling(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"GET /change/chunked HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
        answer = raw.answer()
    assert (answer.body, answer.trailers) == (b"abcd", (("X-Trailer", "t"),))


@pytest.mark.parametrize("query", ["body=new", "status=204", "other=1"])
def test_the_body_of_a_stream_cannot_be_changed(gateway: Gateway, query: str) -> None:
    with Raw(gateway.port) as raw:
        raw.send(f"GET /change/chunked-endless?{query} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer = raw.answer()
        assert (answer.status, answer.reason, answer.get("x-order")) == (500, "plugin_error", "outer.")
        raw.send(b"GET /told/x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.answer().body == b"ok"
    assert "stream" in log_of(gateway, answer)


def test_head_and_answers_without_a_body_are_told(gateway: Gateway) -> None:
    answer = get(gateway, "/change/x", method="HEAD")
    assert (answer.status, answer.get("content-length"), answer.get("x-saw")) == (200, "4", "200 streams None")
    answer = get(gateway, "/change/nothing")
    assert (answer.status, answer.get("x-saw"), answer.get("content-length")) == (204, "204 0 bytes None", None)
    answer = get(gateway, "/change/nothing?status=200&body=now")
    assert (answer.status, answer.body) == (200, b"now")


@pytest.mark.parametrize("query", ["fail=1", "wrong=1", "status=999"])
def test_a_failure_while_being_told(gateway: Gateway, query: str) -> None:
    answer = get(gateway, f"/change/x?{query}")
    assert (answer.status, answer.reason, answer.get("x-order")) == (500, "plugin_error", "outer.")
    assert line_of(gateway, answer)["reason"] == "plugin_error"
    answer = get(gateway, f"/change-allow/x?{query}")
    assert (answer.status, answer.body, answer.reason) == (200, b"ok", None)
    assert answer.get("x-saw") is None


def test_a_failure_while_being_told_of_a_stream_frees_the_upstream(gateway: Gateway, target: Upstream) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"GET /change/big?fail=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.answer().reason == "plugin_error"
        for _ in range(3):
            raw.send(b"GET /change/x HTTP/1.1\r\nHost: a\r\n\r\n")
            assert raw.answer().body == b"ok"
    name = f'gateway_upstream_requests_in_flight{{target="{target.address}",upstream="u"}} 0.0'
    until(lambda: name in gateway.admin("/metrics")[1])


def test_pipelined_answers_stay_in_order_while_plugins_are_told(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        paths = ["/tell-slowly/x?s=0.2", "/told/x", "/change/chunked", "/change/x?body=last"]
        raw.send(b"".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path in paths))
        assert [raw.answer().body for _ in paths] == [b"ok", b"ok", b"abcd", b"last"]


@pytest.mark.parametrize("path", ["/tell-timeout/x", "/tell-plain-timeout/x"])
def test_being_told_has_a_timeout(gateway: Gateway, path: str) -> None:
    answer = get(gateway, path)
    assert (answer.status, answer.reason) == (504, "plugin_timeout")


def test_who_may_be_late_when_told_changes_nothing(gateway: Gateway) -> None:
    answer = get(gateway, "/tell-timeout-allow/x")
    assert (answer.status, answer.body, answer.get("x-half"), answer.get("x-done")) == (200, b"ok", None, None)


def test_a_slow_telling_holds_the_answer(gateway: Gateway) -> None:
    for path in ("/tell-slowly/x?s=0.3", "/tell-plain/x", "/tell-slowly/chunked?s=0.3"):
        began = time.monotonic()
        answer = get(gateway, path)
        assert (answer.status, answer.get("x-done")) == (200, "yes")
        assert time.monotonic() - began >= 0.3


def test_an_answer_that_streams_is_held_back_meanwhile(gateway: Gateway) -> None:
    began = gateway.errors.count("told slowly")
    with Raw(gateway.port) as raw:
        raw.send(b"GET /tell-slowly/big?s=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        until(lambda: gateway.errors.count("told slowly") > began)
        held = [buffered(gateway)]
        until(lambda: held.append(buffered(gateway)) or (held[-1] > 0 and gateway.errors.count("telling ended") > 0))
        assert max(held) < 4 * 1024 * 1024
        assert sum(map(len, raw.pieces())) > 33554432


def buffered(gateway: Gateway) -> float:
    _, text = gateway.admin("/metrics")
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("gateway_buffered_bytes "))


def test_a_client_that_leaves_cancels_the_telling(gateway: Gateway) -> None:
    begun, over = gateway.errors.count("told slowly"), gateway.errors.count("slow telling ended")
    with Raw(gateway.port) as raw:
        raw.send(b"GET /tell-slowly/x HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: gateway.errors.count("told slowly") > begun)
        raw.reset()
        until(lambda: gateway.errors.count("slow telling ended") > over)


def test_an_upgrade_passes_plugins(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(
            b"GET /told/upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 101 " in raw.until(b"\r\n\r\n")
        assert raw.until(b"hi") == b"hi"


# --- metrics and the log ---------------------------------------------------------------------------------------------


def test_the_time_of_each_plugin_is_logged_and_counted(gateway: Gateway) -> None:
    line = line_of(gateway, get(gateway, "/order/x"))
    assert list(line["plugins"]) == ["shop.py:first", "shop.py:second", "shop.py:third"]
    assert all(0 < taken < 1000 for taken in line["plugins"].values())
    slow = line_of(gateway, get(gateway, "/tell-plain/x?s=0.3"))
    assert 280 < slow["plugins"]["shop.py:SlowPlain"] < 1000
    assert slow["overhead_ms"] < 100
    get(gateway, "/fail/x")

    def counted() -> bool:
        _, text = gateway.admin("/metrics")
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("gateway_plugin"))
        return (
            float(values.get('gateway_plugin_errors_total{plugin="shop.py:fail"}', 0)) >= 1
            and float(values.get('gateway_plugin_duration_seconds_count{plugin="shop.py:first"}', 0)) >= 1
        )

    until(counted)
