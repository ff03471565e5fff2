"""Faults under a load of 500 requests/s (less where the machine cannot): what fails, how long, what is left behind.

`pytest tests/journeys/test_faults.py -s` prints the table of gateway/README.md.
"""

import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from tests.support.gateway import Gateway
from tests.support.load import Load
from tests.support.target import Target
from tests.support.upstream import OK, Script, Upstream, Wire
from tests.support.wait import until

Serve = Callable[..., Gateway]
Start = Callable[..., Upstream]

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(500)
STORM = 2000
SLOW = 1000
RSS_BYTES = 24 * 1024 * 1024
"""More than the level before: buffers and memos that stay warm."""


class Journal:
    """One row of the table for each fault."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def note(self, fault: str, load: Load, recovery_s: float | None = None) -> None:
        counts = ", ".join(f"{n} {what}" for what, n in sorted(load.outcomes.counts.items()))
        reasons = "".join(f", {reason}" for reason in sorted(load.outcomes.reasons))
        recovery = "-" if recovery_s is None else f"{max(0.0, recovery_s):.2f} s"
        self.rows.append(f"| {fault} | {counts}{reasons} | {recovery} |")


@pytest.fixture(scope="module")
def journal() -> Iterator[Journal]:
    found = Journal()
    yield found
    print("\n| fault | outcomes | recovery |\n|---|---|---|", *found.rows, sep="\n")


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as started:
        yield started


def proxying(*urls: str, more: str = "", of_upstream: str = "") -> str:
    targets = ", ".join(f'"{url}"' for url in urls)
    upstream = f"{{targets: [{targets}]{of_upstream or ', timeout: {connect: 5s}'}}}"
    return f'{more}\nupstreams: {{u: {upstream}}}\nroutes: [{{name: all, match: "/*", to: u}}]\n'


def resident(gateway: Gateway) -> float:
    return gateway.metric("gateway_process_resident_memory_bytes", process="0")


def back_to_level(gateway: Gateway, resident_before: float) -> None:
    """Nothing under way, nothing held, nothing grown."""
    for name in ("gateway_http_requests_in_flight", "gateway_upstream_requests_in_flight", "gateway_buffered_bytes"):
        until(lambda: gateway.metric(name) == 0, what=name)  # noqa: B023
    until(lambda: gateway.metric("gateway_upstream_connections", state="active") == 0)
    until(lambda: gateway.metric("gateway_connections_open") == 0)
    assert resident(gateway) < resident_before + RSS_BYTES
    assert not gateway.metric("gateway_worker_restarts_total")


def at_last(fault: Callable[[Wire], Awaitable[None]]) -> Script:
    """A script whose connections serve 20 requests and meet the 21st with the fault."""

    async def script(wire: Wire) -> None:
        for _ in range(20):
            await wire.head()
            await wire.send(OK)
        await wire.head()
        await fault(wire)

    return script


# --- targets ---------------------------------------------------------------------------------------------------------


def test_kill_9_of_one_of_two_targets_costs_what_was_in_flight_there(
    serve: Serve, target: Target, journal: Journal
) -> None:
    with ExitStack() as stack:
        victim = stack.enter_context(Target())
        gateway = serve(proxying(target.url, victim.url))
        before = resident(gateway)
        with Load(gateway.port) as load:
            load.go_on(250)
            assert not load.outcomes.failed
            killed, in_flight = time.monotonic(), load.in_flight
            victim.kill()
            load.go_on(500)
            failed = load.outcomes.failed
            stack.enter_context(Target(victim.port))
            load.go_on(250)
        assert failed <= in_flight + 5, "only what was in flight, and what was sent meanwhile"
        assert load.outcomes.failed == failed
        assert set(load.outcomes.reasons) <= {"upstream_reset", "connect_refused"}
        assert load.outcomes.last_bad - killed < 2
        back_to_level(gateway, before)
    journal.note("kill -9 of one of two targets, and its return", load, load.outcomes.last_bad - killed)


def test_a_target_that_never_answers_costs_only_who_waits_for_it(
    serve: Serve, upstream: Start, target: Target, journal: Journal
) -> None:
    async def mute(wire: Wire) -> None:
        await wire.eof()

    gateway = serve(proxying(target.url, upstream(mute).url, of_upstream=", timeout: {connect: 5s, head: 300ms}"))
    before = resident(gateway)
    with Load(gateway.port) as load:
        load.go_on(600)
    assert set(load.outcomes.counts) == {"200", "504"}
    assert set(load.outcomes.reasons) == {"upstream_timeout"}
    assert load.outcomes.counts["200"] > load.outcomes.total * 0.8, "least_loaded sends less to who holds on to it"
    assert load.outcomes.slowest_s < 5
    back_to_level(gateway, before)
    journal.note("one of two targets never answers (`timeout.head` 300 ms)", load)


def test_resets_in_the_middle_of_a_body_cut_that_answer_alone(serve: Serve, upstream: Start, journal: Journal) -> None:
    async def reset(wire: Wire) -> None:
        await wire.send(HALF)
        wire.reset()

    gateway = serve(proxying(upstream(at_last(reset)).url))
    before = resident(gateway)
    with Load(gateway.port) as load:
        load.go_on(600)
    assert set(load.outcomes.counts) == {"200", "truncated"}, load.outcomes
    assert load.outcomes.failed <= load.outcomes.total / 20, "one of 21 answers is cut"
    back_to_level(gateway, before)
    journal.note("a reset in the body of one of 21 answers", load)


def test_garbage_is_a_502_for_that_request_alone(serve: Serve, upstream: Start, journal: Journal) -> None:
    async def garbage(wire: Wire) -> None:
        await wire.send(os.urandom(200) + b"\r\n\r\n")

    gateway = serve(proxying(upstream(at_last(garbage)).url))
    before = resident(gateway)
    with Load(gateway.port) as load:
        load.go_on(600)
    assert set(load.outcomes.counts) == {"200", "502"}
    assert set(load.outcomes.reasons) == {"upstream_protocol"}
    assert load.outcomes.failed <= load.outcomes.total / 20, "one of 21 answers is garbage"
    back_to_level(gateway, before)
    journal.note("garbage for one of 21 answers", load)


def test_a_target_whose_tls_handshake_fails_costs_nothing(
    serve: Serve, upstream: Start, target: Target, journal: Journal
) -> None:
    async def script(wire: Wire) -> None:
        await wire.reader.read(100)
        await wire.send(b"there is no TLS here")

    bad = upstream(script)
    gateway = serve(proxying(target.url, f"https://127.0.0.1:{bad.port}"))
    before = resident(gateway)
    with Load(gateway.port) as load:
        load.go_on(600)
    assert bad.connections > 0
    assert not load.outcomes.failed, load.outcomes
    back_to_level(gateway, before)
    journal.note("TLS handshakes with one of two targets fail", load)


# --- clients ---------------------------------------------------------------------------------------------------------


def test_clients_whose_tls_handshake_fails_hurt_nobody(
    serve: Serve, target: Target, tmp_path: Path, journal: Journal
) -> None:
    certificate = trustme.CA().issue_cert("a.example.com")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
    tls = f"{{address: 127.0.0.1:0, tls: {{cert: {tmp_path}/own.pem, key: {tmp_path}/own.pem}}}}"
    gateway = serve(proxying(target.url, more=f"listen: [127.0.0.1:0, {tls}]"))
    before, tls_port = resident(gateway), int(gateway.base_urls[1].rpartition(":")[2])
    with Load(gateway.port) as load:
        for _ in range(300):
            with socket.create_connection(("127.0.0.1", tls_port), 5) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        load.go_on(250)
    assert not load.outcomes.failed, load.outcomes
    until(lambda: gateway.metric("gateway_tls_handshake_errors_total") == 300)
    back_to_level(gateway, before)
    journal.note("300 TLS handshakes of clients fail", load)


def test_descriptors_exhausted_costs_nobody_who_is_in(serve: Serve, target: Target, journal: Journal) -> None:
    gateway = serve(proxying(target.url), descriptors=512)
    before = resident(gateway)
    with Load(gateway.port) as load:
        load.go_on(250)
        held = [socket.create_connection(("127.0.0.1", gateway.port), 5) for _ in range(600)]
        until(lambda: gateway.metric("gateway_accept_paused_total") >= 1)
        load.go_on(500)
        for sock in held:
            sock.close()
        freed = time.monotonic()
        with socket.create_connection(("127.0.0.1", gateway.port), 5) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
        recovery_s = time.monotonic() - freed
    assert not load.outcomes.failed, load.outcomes
    assert recovery_s < 5
    back_to_level(gateway, before)
    journal.note("descriptors exhausted (512, 600 connections)", load, recovery_s)


def test_a_storm_of_connects_delays_nobody_for_long(serve: Serve, target: Target, journal: Journal) -> None:
    gateway = serve(proxying(target.url))
    before = resident(gateway)
    with Load(gateway.port) as load:
        load.go_on(100)
        begun, storm = time.monotonic(), []
        for _ in range(STORM):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", gateway.port))
            storm.append(sock)
        until(lambda: gateway.metric("gateway_connections_total") >= STORM)
        recovery_s = time.monotonic() - begun
        load.go_on(250)
        for sock in storm:
            sock.close()
    assert not load.outcomes.failed, load.outcomes
    assert load.outcomes.slowest_s < 5
    back_to_level(gateway, before)
    journal.note(f"{STORM} connects at once", load, recovery_s)


def test_slowloris_is_cut_and_hurts_nobody(serve: Serve, target: Target, journal: Journal) -> None:
    gateway = serve(proxying(target.url, more="limits: {header_timeout: 1s}"))
    before = resident(gateway)
    with Load(gateway.port) as load:
        slow = [socket.create_connection(("127.0.0.1", gateway.port), 5) for _ in range(SLOW)]
        for sock in slow:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-")
        load.go_on(250)
        begun = time.monotonic()
        for sock in slow:
            sock.settimeout(5)
            with sock:
                assert sock.recv(1000).startswith(b"HTTP/1.1 408")
        recovery_s = time.monotonic() - begun
    assert not load.outcomes.failed, load.outcomes
    assert load.outcomes.slowest_s < 5
    back_to_level(gateway, before)
    journal.note(f"{SLOW} slowloris clients", load, recovery_s)


# --- the machine -----------------------------------------------------------------------------------------------------


def test_a_full_disk_costs_lines_of_the_log_alone(serve: Serve, target: Target, journal: Journal) -> None:
    gateway = serve(proxying(target.url, more="access_log: {path: /dev/full}"))
    before = resident(gateway)
    with Load(gateway.port) as load:
        load.go_on(600)
    assert not load.outcomes.failed, load.outcomes
    until(lambda: gateway.metric("gateway_access_log_dropped_total") == load.outcomes.total)
    back_to_level(gateway, before)
    journal.note("the disk of the access log is full", load)
