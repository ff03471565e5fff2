"""A request that one target does not answer is answered by another, where that is safe; and how often."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.corpus import request
from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.raw import Raw
from tests.support.upstream import OK, Recorded, Script, Upstream, Wire, answering
from tests.support.wait import until

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
ALL = "[connect, reset, timeout, 502, 503, 504]"
TARGET = """
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            line = self.rfile.readline()
            if not line: return
            while self.rfile.readline() not in (b"\\r\\n", b""): pass
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
GET = request(line=b"GET /x HTTP/1.1")
Serve = Callable[..., Gateway]
Start = Callable[..., Upstream]


def config(*targets: str, retry: str, more: str = "") -> str:
    listed = ", ".join(f'"{each}"' for each in targets)
    return (
        f"upstreams: {{u: {{targets: [{listed}], balance: round_robin, retry: {retry}{more}}}}}\n"
        "routes:\n"
        "  - {name: all, match: /*, to: u, timeout: 5s}\n"
        "  - {name: endless, match: /endless, to: u, timeout: off}\n"
        "  - {name: both, match: /both, aggregate: {sources: {a: {to: u, path: /a}, b: {to: u, path: /b}}}}\n"
    )


def ask(gateway: Gateway, method: bytes = b"GET", path: bytes = b"/x", body: bytes = b"") -> Answer:
    fields = (b"Content-Length: %d" % len(body),) if body else ()
    with Raw(gateway.port) as raw:
        return raw.send(request(*fields, line=b"%b %b HTTP/1.1" % (method, path), body=body)).answer()


def retries(gateway: Gateway) -> dict[str, float]:
    outcomes = "ok failed denied_budget denied_unsafe".split()
    found = {each: gateway.metric("gateway_upstream_retries_total", upstream="u", outcome=each) for each in outcomes}
    return {outcome: value for outcome, value in found.items() if value}


def logged(gateway: Gateway, count: int) -> list[dict[str, Any]]:
    until(lambda: len(gateway.access_log()) >= count, what=f"{count} lines")
    return gateway.access_log()


async def _reset(wire: Wire) -> None:
    await wire.request()
    wire.reset()


async def _mute(wire: Wire) -> None:
    await wire.request()
    await wire.eof()


async def _garbage(wire: Wire) -> None:
    await wire.request()
    await wire.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


async def _busy_and_endless(wire: Wire) -> None:
    await wire.request()
    await wire.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000000\r\n\r\nabc")
    await wire.eof()


@pytest.mark.parametrize("script", [_reset, _mute, _garbage, _busy_and_endless, answering(BUSY)])
def test_another_target_answers(script: Script, serve: Serve, upstream: Start) -> None:
    """Each of four requests, whichever target was first; the body arrives whole at the second."""
    bad, good = upstream(script), upstream()
    more = ", timeout: {head: 150ms}"
    gateway = serve(config(bad.url, good.url, retry=f"{{attempts: 2, when: {ALL}}}", more=more))
    for n in range(4):
        answer = ask(gateway, b"PUT", b"/%d" % n, b"whole body")
        assert (answer.status, answer.body) == (200, b"ok")
    assert [each.body for each in good.requests] == [b"whole body"] * 4
    lines = logged(gateway, 4)
    assert sorted(each["attempts"] for each in lines) == [1, 1, 2, 2]
    assert {each["target"] for each in lines} == {good.address}
    until(lambda: retries(gateway) == {"ok": 2.0}, what="counted")
    until(lambda: not gateway.metric("gateway_upstream_requests_in_flight", upstream="u"), what="all over")


def test_what_was_sent_and_is_not_idempotent_is_not_sent_again(serve: Serve, upstream: Start) -> None:
    first, second = upstream(_reset), upstream(answering(BUSY))
    gateway = serve(config(first.url, second.url, retry=f"{{attempts: 2, when: {ALL}}}"))
    statuses = sorted(ask(gateway, b"POST", b"/orders", b"one").status for _ in range(4))
    assert statuses == [502, 502, 503, 503]
    assert len(first.requests) + len(second.requests) == 4, "each arrived once"
    assert {each["attempts"] for each in logged(gateway, 4)} == {1}
    until(lambda: retries(gateway) == {"denied_unsafe": 4.0}, what="counted")


def test_the_last_answer_is_passed_on_and_every_target_is_asked_once(serve: Serve, upstream: Start) -> None:
    targets = [upstream(answering(BUSY)) for _ in range(3)]
    gateway = serve(config(*[each.url for each in targets], retry="{attempts: 10, when: 503}"))
    answer = ask(gateway)
    assert (answer.status, answer.body, answer.reason) == (503, b"busy", None)
    assert [len(each.requests) for each in targets] == [1, 1, 1]
    assert logged(gateway, 1)[0]["attempts"] == 3
    until(lambda: retries(gateway) == {"failed": 1.0}, what="counted")


def test_without_the_condition_nothing_is_sent_again(serve: Serve, upstream: Start) -> None:
    bad = [upstream(answering(BUSY)), upstream(answering(BUSY))]
    gateway = serve(config(*[each.url for each in bad], retry="3"))
    assert ask(gateway).status == 503
    assert sum(len(each.requests) for each in bad) == 1
    assert retries(gateway) == {}


def test_the_budget_holds_under_a_dead_upstream(serve: Serve, upstream: Start) -> None:
    """Of 100 requests at most 20 are sent again, or 10 where that is more."""
    bad = [upstream(answering(BUSY)), upstream(answering(BUSY))]
    gateway = serve(config(*[each.url for each in bad], retry="{attempts: 2, when: 503, budget: 20%, backoff: 0s}"))
    with Raw(gateway.port) as raw:
        for _ in range(100):
            assert raw.send(GET).answer().status == 503
    arrived = sum(len(each.requests) for each in bad)
    assert arrived == 120
    until(lambda: retries(gateway) == {"failed": 20.0, "denied_budget": 80.0}, what="counted")


def test_a_client_that_leaves_during_the_back_off_ends_it(serve: Serve, upstream: Start) -> None:
    bad = [upstream(answering(BUSY)), upstream(answering(BUSY))]
    gateway = serve(config(*[each.url for each in bad], retry="{attempts: 2, when: 503, backoff: 4s}"))
    with Raw(gateway.port) as raw:
        raw.send(GET)
        until(lambda: sum(len(each.requests) for each in bad) == 1, what="the first attempt")
    assert logged(gateway, 1)[0]["reason"] == "client_closed"
    assert sum(len(each.requests) for each in bad) == 1


def test_every_attempt_says_what_is_left(serve: Serve, upstream: Start) -> None:
    bad, good = upstream(_mute), upstream()
    retry = "{attempts: 2, when: timeout, backoff: 0s}"
    gateway = serve(config(bad.url, good.url, retry=retry, more=", timeout: {head: 200ms}"))
    left = []
    for _ in range(2):
        assert ask(gateway, b"GET", b"/x").status == 200
    for each in (*bad.requests, *good.requests):
        left += [int(value) for value in each.fields("x-request-timeout-ms")]
    assert len(left) == 3
    assert all(0 < each <= 5000 for each in left)
    assert min(left) <= 4800, "the second attempt has less"
    assert ask(gateway, b"GET", b"/endless").status == 200
    endless = [each for each in (*bad.requests, *good.requests) if b"/endless" in each.line]
    assert endless
    assert all(each.fields("x-request-timeout-ms") == [] for each in endless)


def test_sources_of_aggregates_are_tried_again_and_told_the_time(serve: Serve, upstream: Start) -> None:
    def answer(recorded: Recorded) -> bytes:
        return OK.replace(b"ok", b"12")

    bad, good = upstream(answering(BUSY)), upstream(answering(answer))
    gateway = serve(config(bad.url, good.url, retry="{attempts: 2, when: 503}"))
    both = ask(gateway, b"GET", b"/both")
    assert (both.status, both.body, both.get("x-gateway-complete")) == (200, b'{"a":12,"b":12}', "true")
    assert all(int(each.fields("x-request-timeout-ms")[0]) > 0 for each in (*good.requests, *bad.requests))


@contextmanager
def _target() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    process = subprocess.Popen([sys.executable, "-c", TARGET], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process, f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_kill_9_of_a_target_under_load_fails_nothing_that_is_idempotent(serve: Serve) -> None:
    with _target() as (doomed, first), _target() as (_, second):
        gateway = serve(config(first, second, retry="{attempts: 2, when: [connect, reset]}"))
        statuses: list[list[int]] = [[] for _ in range(8)]
        over = threading.Event()

        def load(mine: list[int]) -> None:
            with Raw(gateway.port) as raw:
                while not over.is_set():
                    mine.append(raw.send(GET).answer().status)

        threads = [threading.Thread(target=load, args=(each,)) for each in statuses]
        for thread in threads:
            thread.start()
        until(lambda: min(map(len, statuses)) >= 50, what="load")
        doomed.send_signal(signal.SIGKILL)
        doomed.wait()
        seen = [len(each) for each in statuses]
        until(lambda: all(len(each) > before + 100 for each, before in zip(statuses, seen, strict=True)), what="more")
        over.set()
        for thread in threads:
            thread.join()
        assert {status for each in statuses for status in each} == {200}
        lines = logged(gateway, sum(map(len, statuses)))
        assert {each["attempts"] for each in lines} <= {1, 2, 3}
        assert any(each["attempts"] > 1 for each in lines)
