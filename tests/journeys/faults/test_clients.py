"""Clients that come all at once, drip, do not read and break off, beside good ones with 500 requests/s."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import trustme

from tests.support.crowd import Crowd, possible
from tests.support.faults import Journal, Level, proxying
from tests.support.gateway import Gateway
from tests.support.load import AT_ONCE, Load
from tests.support.target import Target
from tests.support.upstream import Upstream, Wire
from tests.support.wait import until

Serve = Callable[..., Gateway]
Start = Callable[..., Upstream]

STORM, SLOW, IDLE, RESETS, DEAF = 10_000, 2_000, 5_000, 1_500, 40
ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BIG = bytes(20_000_000)
EACH = 1 << 18
"""`buffer.response`."""
SLACK = 4 << 20
PATIENT = f"connections: {{max: {RESETS}, wait: 20s}}, timeout: {{connect: 20s}}"
"""Of an upstream that all of them wait for: it runs in the process of the test, which may be slow."""


def open_connections(gateway: Gateway) -> float:
    return gateway.metric("gateway_connections_open")


def rests(gateway: Gateway, load: Load) -> bool:
    """Whether bytes are held and no more come, in half a second, after which they are counted anew."""
    before = gateway.metric("gateway_buffered_bytes")
    load.go_on(300)
    return gateway.metric("gateway_buffered_bytes") == before > 0


def test_clients_whose_tls_handshake_fails_hurt_nobody(
    serve: Serve, target: Target, tmp_path: Path, journal: Journal
) -> None:
    certificate = trustme.CA().issue_cert("a.example.com")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
    tls = f"{{address: 127.0.0.1:0, tls: {{cert: {tmp_path}/own.pem, key: {tmp_path}/own.pem}}}}"
    gateway = serve(proxying(target.url, more=f"listen: [127.0.0.1:0, {tls}]"))
    level, tls_port = Level(gateway), int(gateway.base_urls[1].rpartition(":")[2])
    with Load(gateway.port) as load:
        for _ in range(300):
            with socket.create_connection(("127.0.0.1", tls_port), 5) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        load.go_on(100)
    assert not load.outcomes.failed, load.outcomes
    until(lambda: gateway.metric("gateway_tls_handshake_errors_total") == 300)
    level.is_back()
    journal.note("300 TLS handshakes of clients fail", load)


def test_a_storm_of_connects_is_served_and_delays_nobody_for_long(
    serve: Serve, target: Target, journal: Journal
) -> None:
    """Each of the storm asks as soon as it is connected. More than the backlog of 4 096 come at once."""
    storm = possible(STORM)
    gateway = serve(proxying(target.url).replace("routes: [", "routes: [{match: /storm, respond: {status: 200}}, "))
    level = Level(gateway)
    with Load(gateway.port) as load:
        load.go_on(100)
        with Crowd(gateway.port, storm, ASK.replace(b" /", b" /storm", 1)) as crowd:
            heads, took_s = crowd.heads()
            assert heads == {"HTTP/1.1 200": storm}
            load.go_on(100)
    assert not load.outcomes.failed, load.outcomes
    level.is_back()
    served_s = crowd.connected_s + took_s
    journal.note(f"{storm} connects within {crowd.asked_s:.2f} s, each with a request", load, served_s)


def test_slowloris_is_cut_and_hurts_nobody(serve: Serve, target: Target, journal: Journal) -> None:
    gateway = serve(proxying(target.url, more="limits: {header_timeout: 1s}"))
    level = Level(gateway)
    with Load(gateway.port) as load:
        with Crowd(gateway.port, SLOW, ASK[:-2] + b"X-") as crowd:
            heads, took_s = crowd.heads()
            assert heads == {"HTTP/1.1 408": SLOW}
            assert crowd.ends()[0] == SLOW
        load.go_on(100)
    assert took_s < 1 + 4
    assert not load.outcomes.failed, load.outcomes
    level.is_back()
    journal.note(f"{SLOW} slowloris clients (`header_timeout` 1 s)", load, took_s)


def test_idle_connections_cost_little_memory(serve: Serve, target: Target, journal: Journal) -> None:
    idle = possible(IDLE)
    gateway = serve(proxying(target.url))
    with Load(gateway.port) as load:
        load.go_on(150)
        level = Level(gateway)
        with Crowd(gateway.port, idle) as crowd:
            until(lambda: open_connections(gateway) >= idle)
            load.go_on(250)
            each = level.grown / idle
            assert crowd.connected_s < 20
    assert each < 5_000
    assert not load.outcomes.failed, load.outcomes
    level.is_back()
    journal.note(f"{idle} idle connections, {each / 1000:.1f} kB each", load)


def test_clients_that_do_not_read_are_not_read_ahead_for(
    serve: Serve, upstream: Start, target: Target, journal: Journal
) -> None:
    async def big(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
        await wire.send(BIG)

    config = proxying(target.url).replace("upstreams: {", f'upstreams: {{big: "{upstream(big).url}", ')
    gateway = serve(config.replace("routes: [", "routes: [{match: /big, to: big}, "))
    with Load(gateway.port) as load:
        load.go_on(150)
        level = Level(gateway)
        with Crowd(gateway.port, DEAF, ASK.replace(b" /", b" /big", 1), receive_buffer=4096):
            until(lambda: gateway.metric("gateway_upstream_requests_in_flight", upstream="big") == DEAF)
            until(lambda: rests(gateway, load), what="all that is read ahead is here")
            grown = level.grown
    assert grown < DEAF * EACH + SLACK
    assert not load.outcomes.failed, load.outcomes
    level.is_back()
    journal.note(f"{DEAF} clients that do not read 20 MB each: +{grown / 1e6:.0f} MB", load)


def test_connections_that_are_reset_all_at_once_leave_nothing(
    serve: Serve, upstream: Start, target: Target, journal: Journal
) -> None:
    """All of them wait for an answer. What is left is the load's, on both sides."""

    async def mute(wire: Wire) -> None:
        await wire.request()
        await wire.eof()

    hung = upstream(mute)
    more = f'upstreams: {{hung: {{targets: "{hung.url}", {PATIENT}}}, '
    config = proxying(target.url).replace("upstreams: {", more)
    gateway = serve(config.replace("routes: [", "routes: [{match: /hung, to: hung}, "))
    with Load(gateway.port) as load:
        load.go_on(100)
        level, descriptors = Level(gateway), gateway.metric("gateway_process_open_fds", process="0")
        with Crowd(gateway.port, RESETS, ASK.replace(b" /", b" /hung", 1)):
            until(lambda: len(hung.requests) == RESETS)
        gone = time.monotonic()
        until(lambda: gateway.metric("gateway_process_open_fds", process="0") <= descriptors + 2 * AT_ONCE)
        freed_s = time.monotonic() - gone
        load.go_on(150)
    assert not load.outcomes.failed, load.outcomes
    level.is_back()
    journal.note(f"{RESETS} clients reset their connections at once", load, freed_s)
