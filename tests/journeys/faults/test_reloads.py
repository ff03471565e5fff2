"""Reloads under a load of 500 requests/s: nothing fails, nothing closes, nothing grows."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.journeys.test_reload import reload, write
from tests.support.faults import Journal, Level
from tests.support.gateway import Gateway
from tests.support.load import Load
from tests.support.target import Target
from tests.support.upstream import Upstream, Wire

Serve = Callable[..., Gateway]

RELOADS = 50
STREAMS = 1000
BROKEN = 10
EVENT = b"data: 1\n\n"
LAST = b"data: last\n\n"


class Ticker:
    """An upstream script: events without end, until the test lets it say the last one."""

    def __init__(self) -> None:
        self.release = threading.Event()

    async def __call__(self, wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while not self.release.is_set():
            await wire.send(EVENT)
            await asyncio.sleep(2.0)
        await wire.send(LAST)


class Stream:
    """A client of a stream, which has got its first event."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._socket.sendall(b"GET /ticks HTTP/1.1\r\nHost: a\r\n\r\n")
        self._got = b""
        self._read_until(EVENT)

    def ends_well(self) -> bool:
        """Whether the last event arrives."""
        self._read_until(LAST)
        return LAST in self._got

    def _read_until(self, wanted: bytes) -> None:
        while wanted not in self._got and (more := self._socket.recv(65536)):
            self._got += more

    def close(self) -> None:
        self._socket.close()


def config(number: int, url: str, ticks: str) -> str:
    """One that differs with every number, in an upstream and in a route of each kind."""
    upstreams = ", ".join(
        f'{name}: {{targets: ["{each}"], connections: {{max: {STREAMS}, idle: {number + 1}}}}}'
        for name, each in (("u", url), ("ticker", ticks))
    )
    upstreams += f', kept: "{url}"'
    routes = (
        "{name: all, match: /*, to: {u: 50%, kept: 50%}}, {name: ticks, match: /ticks, to: ticker}, "
        f"{{name: r{number % 3}, match: /r, respond: {{status: 200, body: x{number}}}}}"
    )
    return f"workers: 2\nupstreams: {{{upstreams}}}\nroutes: [{routes}]\n"


def test_50_reloads_in_10_s_fail_no_request_and_close_no_stream(
    serve: Serve, target: Target, upstream: Callable[..., Upstream], journal: Journal
) -> None:
    ticker = Ticker()
    ticks = upstream(ticker).url
    gateway = serve(config(0, target.url, ticks))
    with ExitStack() as stack:
        streams = [Stream(gateway.port) for _ in range(STREAMS)]
        for each in streams:
            stack.callback(each.close)
        level = Level(gateway)
        with Load(gateway.port) as load:
            assert reload(gateway)[0] == 200
            begun = time.monotonic()
            for number in range(1, RELOADS + 1):
                write(gateway, config(number, target.url, ticks))
                assert reload(gateway)[0] == 200
            took_s = time.monotonic() - begun
        ticker.release.set()
        closed = sum(not each.ends_well() for each in streams)
    assert not load.outcomes.failed, load.outcomes
    assert not closed
    assert gateway.metric("gateway_config_reloads_total", result="success") == RELOADS + 1
    level.is_back()
    journal.note(f"{RELOADS} reloads in {took_s:.1f} s beside {STREAMS} streams", load)


def test_a_config_broken_mid_flight_changes_nothing_and_is_told(serve: Serve, target: Target, journal: Journal) -> None:
    gateway = serve(config(0, target.url, target.url))
    level = Level(gateway)
    broken = "routes: [{name: all, match: /*, to: nobody}, {name: s, match: s, respnd: {}}]\n"
    with Load(gateway.port) as load:
        for number in range(1, BROKEN + 1):
            write(gateway, broken)
            status, document = reload(gateway)
            assert (status, len(document["errors"])) == (422, 3), document
            assert gateway.metric("gateway_config_last_reload_successful") == 0
            write(gateway, config(number, target.url, target.url))
            assert reload(gateway)[0] == 200
            assert gateway.metric("gateway_config_last_reload_successful") == 1
    assert not load.outcomes.failed, load.outcomes
    assert gateway.metric("gateway_config_reloads_total", result="failure") == BROKEN
    level.is_back()
    journal.note(f"a config broken mid-flight, {BROKEN} times", load)
