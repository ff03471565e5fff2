"""What users' Python does on a bad night, to a whole gateway: it costs its own request, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.request import urlopen

import pytest

from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.raw import Raw
from tests.support.upstream import Upstream, Wire
from tests.support.wait import until

NIGHT = '''
import asyncio, os, re, resource, subprocess, sys, threading, time
from gateway import Response

class Odd(Exception):
    """Cannot be made again from what it keeps."""
    def __init__(self, first, second): super().__init__(f"{first} and {second}")

class Unreadable:
    """Cannot be made again anywhere."""
    def __reduce__(self): return _refuse, ()
def _refuse(): raise RuntimeError("cannot be read")

def fork_and_return(request): return {"copy": os.fork() == 0}
def fork_and_exit(request):
    if os.fork() == 0: sys.exit(0)
    return {"copy": False}
def closes(request): os.closerange(3, 64)
def odd(request): raise Odd(1, 2)
def unreadable(request): request.state["it"] = Unreadable()
def exits(request): sys.exit(3)
def interrupts(request): raise KeyboardInterrupt
def generator_exit(request): raise GeneratorExit
def eats(request):
    resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
    return bytes(1 << 30)
def echo(request): return {"n": request.args["n"]}
def large(request): return b"x" * 100_000_000
def prints(request):
    print("theirs, without an end", end="", flush=True)
def writes(request):
    os.write(1, b"theirs, without an end")

def sleeps(request): time.sleep(60)
def matches(request): re.match("(a+)+$", "a" * 40 + "b")
def spawns(request):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(request.args["file"], "w") as file: file.write(f"{child.pid} ")
    child.wait()

gate = threading.Event()
def waits(request): gate.wait(30); return "let go"
async def lets_go(request): gate.set()

async def stubborn(request):
    while True:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            pass
class Stubborn:
    async def on_response(self, request, response): await stubborn(request)

def items(request):
    return [{"name": f"item {n}", "value": [n, n + 1]} for n in range(300_000)]

def set_nonsense(request):
    name, value = {
        "path": ("path", None), "query": ("query", 3), "state": ("state", None), "params": ("params", "a"),
        "space": ("path", "/a b"), "letter": ("path", "/\\u20ac"),
    }[request.args["what"]]
    setattr(request, name, value)
def set_field(request): request.headers[request.args.get("name", "X-A")] = request.args.get("value", "a")
def passes(request): pass
def refuses(request): return Response(status=403)
class Mark:
    def on_response(self, request, response): response.headers["X-Marked"] = str(response.status)
'''

CONFIG = """
executors:
  default: {threads: 2, queue: 2000, timeout: 60s}
  apart: {processes: 2, timeout: 5s}
  alone: {processes: 1, timeout: 60s}
upstreams: {u: "UPSTREAM"}
routes:
  - {name: ping, match: /ping, respond: {status: 200, body: pong}}
  - {name: waits, match: /waits, handler: "night.py:waits"}
  - {name: lets-go, match: /lets-go, handler: "night.py:lets_go"}
  - {name: prints-in-a-thread, match: /threads/prints, handler: "night.py:prints"}
  - {name: items, match: /items, handler: "night.py:items"}
  - {name: items-alone, match: /items-alone, handler: {run: "night.py:items", executor: alone}}
  - {name: large, match: /large, handler: {run: "night.py:large", executor: alone}}
  - {name: stubborn, match: /stubborn, handler: {run: "night.py:stubborn", timeout: 100ms}}
  - {name: stubborn-plugin, match: /stubborn-plugin, plugins: [{run: "night.py:stubborn", timeout: 100ms}], to: u}
  - {name: stubborn-told, match: /stubborn-told/*, plugins: [{run: "night.py:Stubborn", timeout: 100ms}], to: u}
  - {name: nonsense, match: /nonsense, plugins: ["night.py:set_nonsense"], to: u}
  - name: nonsense-allowed
    match: /nonsense-allowed
    plugins: [{run: "night.py:set_nonsense", on_error: allow}, {run: "night.py:passes", on_error: allow}]
    respond: {status: 200, body: unharmed}
  - {name: field, match: /field, plugins: ["night.py:set_field"], to: u}
  - {name: through, match: /through/*, plugins: ["night.py:passes", "night.py:Mark"], to: u, buffer: {request: 4KiB}}
  - {name: refused, match: /refused, plugins: ["night.py:refuses"], to: u}
"""
APART = "fork_and_return fork_and_exit closes odd unreadable exits interrupts generator_exit eats echo prints writes"
ALONE = "sleeps matches spawns"


def config(directory: Path, upstream: str = "http://127.0.0.1:1") -> str:
    (directory / "night.py").write_text(NIGHT)
    routes = "".join(
        f'  - {{name: {name}, match: /{name}, handler: {{run: "night.py:{name}", executor: {executor}}}}}\n'
        for executor, names in (("apart", APART), ("alone", ALONE))
        for name in names.split()
    )
    return (CONFIG + routes).replace("UPSTREAM", upstream).replace('"night.py', f'"{directory}/night.py')


async def serve(wire: Wire) -> None:
    """Sends back the body, under /through after an interim answer; under /endless an answer without an end."""
    while True:
        head = await wire.head()
        if b"/endless" in head:
            await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
            await wire.eof()
            return
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        if b"/through" in head:
            await wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while size:
            data = await wire.reader.read(65536)
            size -= len(data)
            await wire.send(data)


@pytest.fixture(scope="module")
def target() -> Iterator[Upstream]:
    with Upstream(serve) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(target: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("gateway")
    with Gateway(config(directory, target.url), directory) as started:
        yield started


def ask(gateway: Gateway, path: str) -> Raw:
    return Raw(gateway.port).send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())


def get(gateway: Gateway, path: str) -> Answer:
    with ask(gateway, path) as raw:
        return raw.answer()


def at_rest(gateway: Gateway) -> None:
    """Wait until nothing is under way and all gauges say so."""
    until(lambda: gateway.metric("gateway_http_requests_in_flight") == 0)
    until(lambda: gateway.metric("gateway_buffered_bytes") == 0)
    until(lambda: gateway.metric("gateway_executor_queue_depth") == 0)
    until(lambda: gateway.metric("gateway_executor_workers", state="busy") == 0)
    until(lambda: gateway.metric("gateway_executor_workers", state="abandoned") == 0)


def runs(pid: int) -> bool:
    """Whether it is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    return [
        int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()
    ]


# --- processes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fork_and_return", "fork_and_exit"])
def test_a_copy_that_code_makes_of_its_process_mixes_up_no_answers(gateway: Gateway, how: str) -> None:
    for number in range(6):
        assert json.loads(get(gateway, f"/{how}").body) == {"copy": False}
        assert json.loads(get(gateway, f"/echo?n={number}").body) == {"n": str(number)}


@pytest.mark.parametrize("how", ["closes", "odd", "unreadable", "exits", "interrupts", "generator_exit", "eats"])
def test_what_goes_wrong_in_a_process_is_one_error(gateway: Gateway, how: str) -> None:
    before = gateway.metric("gateway_executor_tasks_total", executor="apart", outcome="error")
    answer = get(gateway, f"/{how}")
    assert (answer.status, answer.reason) == (500, "handler_error")
    assert [get(gateway, "/echo?n=1").status for _ in range(4)] == [200] * 4
    until(lambda: gateway.metric("gateway_executor_tasks_total", executor="apart", outcome="error") == before + 1)
    at_rest(gateway)


def test_a_result_of_100_megabytes(gateway: Gateway) -> None:
    with urlopen(f"{gateway.base_url}/large", timeout=30) as answer:
        assert len(answer.read()) == 100_000_000
    at_rest(gateway)


@pytest.mark.parametrize("path", ["/prints", "/writes", "/threads/prints"])
def test_what_code_prints_tears_no_line_of_the_access_log(gateway: Gateway, path: str) -> None:
    wanted = get(gateway, path).get("x-request-id")
    until(lambda: any(line["request_id"] == wanted for line in gateway.access_log()))
    assert "theirs, without an end" in gateway.errors


@pytest.mark.parametrize("how", ["sleeps", "matches"])
@pytest.mark.parametrize("end", ["worker", "supervisor", "drain"])
def test_processes_end_with_their_worker_whatever_they_do(
    serve: Callable[..., Gateway], tmp_path: Path, how: str, end: str
) -> None:
    own = serve(config(tmp_path) + "shutdown: {drain: 300ms}\n")
    worker = own.workers()[0]
    pids = children(worker)
    assert len(pids) == 3
    with ask(own, f"/{how}"):
        until(lambda: own.metric("gateway_executor_workers", executor="alone", state="busy") == 1)
        if end == "worker":
            os.kill(worker, signal.SIGKILL)
        elif end == "supervisor":
            own.kill()
        else:
            assert own.stop() == 0
        until(lambda: not any(runs(pid) for pid in pids))


def test_what_a_process_started_ends_with_the_worker_too(serve: Callable[..., Gateway], tmp_path: Path) -> None:
    own = serve(config(tmp_path))
    file = tmp_path / "pid"
    with ask(own, f"/spawns?file={file}"):
        started = int(until(lambda: file.exists() and file.read_text()))
        assert runs(started)
        os.kill(own.workers()[0], signal.SIGKILL)
        until(lambda: not runs(started))


IN_A_CONTAINER = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]


def test_as_the_first_process_of_a_container_it_leaves_no_zombies(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n" + config(tmp_path))
    words = [*IN_A_CONTAINER, sys.executable, "-m", "gateway", "run", str(file)]
    with (tmp_path / "errors").open("wb") as errors:
        outside = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        supervisor = until(lambda: children(outside.pid))[0]
        worker = until(lambda: [pid for pid in children(supervisor) if len(children(pid)) == 3])[0]
        left = children(worker)
        until(lambda: "listening on" in (tmp_path / "errors").read_text())
        os.kill(worker, signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))
        os.kill(supervisor, signal.SIGTERM)
        assert outside.wait(10) == 0
    finally:
        outside.kill()


# --- threads and the loop --------------------------------------------------------------------------------------------


def test_clients_that_leave_a_queue_all_at_once(gateway: Gateway) -> None:
    running = [ask(gateway, "/waits") for _ in range(2)]
    until(lambda: gateway.metric("gateway_executor_workers", executor="default", state="busy") == 2)
    ended_before = gateway.metric("gateway_executor_tasks_total", executor="default")
    queued = [ask(gateway, "/waits") for _ in range(500)]
    until(lambda: gateway.metric("gateway_executor_queue_depth", executor="default") == 500)
    for raw in reversed(queued):
        raw.reset()
    assert get(gateway, "/ping").body == b"pong"
    until(lambda: gateway.metric("gateway_executor_queue_depth", executor="default") == 0)
    assert get(gateway, "/lets-go").status == 204
    for raw in running:
        with raw:
            assert raw.answer().body == b"let go"
    at_rest(gateway)
    assert gateway.metric("gateway_executor_tasks_total", executor="default") == ended_before + 2


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/stubborn", "handler_error"),
        ("/stubborn-plugin", "plugin_timeout"),
        ("/stubborn-told/", "plugin_timeout"),
        ("/stubborn-told/endless", "plugin_timeout"),
    ],
)
def test_who_ignores_being_cancelled_is_left_to_itself(gateway: Gateway, path: str, reason: str) -> None:
    began = monotonic()
    answer = get(gateway, path)
    assert (answer.status, answer.reason) == (504, reason)
    assert monotonic() - began < 5
    assert "does not end when cancelled" in gateway.errors
    at_rest(gateway)
    until(lambda: gateway.metric("gateway_upstream_requests_in_flight") == 0)


@pytest.mark.parametrize("path", ["/items", "/items-alone"])
def test_json_of_much_data_is_made_off_the_loop(gateway: Gateway, path: str) -> None:
    """The guard would name the code that makes it. Writing so much takes a while, too, on a machine that is busy."""
    done = threading.Event()
    sizes: list[int] = []

    def fetch() -> None:
        sizes.append(len(get(gateway, path).body))
        done.set()

    threading.Thread(target=fetch).start()
    while not done.is_set():
        assert get(gateway, "/ping").status == 200
    assert sizes[0] > 10_000_000
    named = [line for line in gateway.errors.splitlines() if "the event loop is held up" in line]
    makers = ("gateway.core", "gateway.pipeline.handler", "gateway.pipeline.result", "gateway.pipeline.remote")
    assert not [line for line in named if any(maker in line for maker in makers)]


# --- plugins ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["path", "query", "state", "params", "space", "letter"])
def test_what_no_request_has_is_the_plugins_error(gateway: Gateway, what: str) -> None:
    answer = get(gateway, f"/nonsense?what={what}")
    assert (answer.status, answer.reason) == (500, "plugin_error")


@pytest.mark.parametrize("what", ["path", "query", "state", "params"])
def test_what_no_request_has_leaves_no_trace_where_that_is_allowed(gateway: Gateway, what: str) -> None:
    assert get(gateway, f"/nonsense-allowed?what={what}").body == b"unharmed"


@pytest.mark.parametrize("query", ["value=a%0D%0AX-Evil:%201", "name=X-A%3A%201%0D%0AX-Evil", "value=%00", "name="])
def test_no_plugin_adds_a_line_to_the_head(gateway: Gateway, target: Upstream, query: str) -> None:
    before = len(target.requests)
    assert get(gateway, f"/field?{query}").reason == "plugin_error"
    assert len(target.requests) == before


def test_a_body_beyond_the_buffer_streams_both_ways_past_plugins(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"POST /through/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + b"1" * 1_000_000)
        assert b"X-Marked: 200" in raw.until(b"1" * 1000)  # the answer comes while the body goes
        raw.send(b"2" * 2_000_000)
        assert raw.until(b"2" * 1000)


def test_requests_in_one_packet_are_answered_in_order_behind_plugins(gateway: Gateway) -> None:
    one = b"POST /through/%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%d"
    with Raw(gateway.port) as raw:
        raw.send(b"".join(one % (number, number) for number in range(9)))
        answers: list[Any] = []
        while len(answers) < 9:
            answer = raw.answer()
            if answer.status != 103:
                answers.append(answer)
    assert [answer.body for answer in answers] == [b"%d" % number for number in range(9)]
    assert {answer.get("x-marked") for answer in answers} == {"200"}


def test_a_refusal_of_who_waits_for_100_leaves_a_connection_of_use_or_none(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert raw.until(b"100 Continue\r\n\r\n")
        raw.send(b"12345")
        assert raw.answer().reason == "plugin_denied"
        raw.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.answer().body == b"pong"


def test_a_plugin_can_refuse_an_upgrade(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(b"GET /refused HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert raw.answer().reason == "plugin_denied"
        raw.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.answer().body == b"pong"
