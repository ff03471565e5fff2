"""Descriptors, disk, memory and clock of the machine, and a killed worker, under a load of 500 requests/s."""

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.crowd import Crowd
from tests.support.faults import Journal, Level, proxying
from tests.support.gateway import Gateway
from tests.support.load import Load
from tests.support.memory_limit import memory_limited
from tests.support.raw import Raw
from tests.support.target import Target
from tests.support.upstream import Upstream
from tests.support.wait import until
from tests.support.wallclock import WallClock

Serve = Callable[..., Gateway]
Start = Callable[..., Upstream]

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
DAY_S = 86_400
MIB = 1 << 20
BODIES = 200
ROOM = 64 * MIB


def test_descriptors_exhausted_costs_nobody_who_is_in(serve: Serve, target: Target, journal: Journal) -> None:
    gateway = serve(proxying(target.url), descriptors=512)
    level = Level(gateway)
    with Load(gateway.port) as load:
        load.go_on(150)
        held = [socket.create_connection(("127.0.0.1", gateway.port), 5) for _ in range(600)]
        until(lambda: gateway.metric("gateway_accept_paused_total") >= 1)
        load.go_on(250)
        for sock in held:
            sock.close()
        freed = time.monotonic()
        with socket.create_connection(("127.0.0.1", gateway.port), 5) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
        recovery_s = time.monotonic() - freed
    assert not load.outcomes.failed, load.outcomes
    assert recovery_s < 5
    level.is_back()
    journal.note("descriptors exhausted (512, 600 connections)", load, recovery_s)


def test_a_full_disk_costs_lines_of_the_log_alone(serve: Serve, target: Target, journal: Journal) -> None:
    gateway = serve(proxying(target.url, more="access_log: {path: /dev/full}"))
    level = Level(gateway)
    with Load(gateway.port) as load:
        load.go_on(300)
    assert not load.outcomes.failed, load.outcomes
    until(lambda: gateway.metric("gateway_access_log_dropped_total") == load.outcomes.total)
    level.is_back()
    journal.note("the disk of the access log is full", load)


def test_a_killed_worker_costs_what_it_held(serve: Serve, target: Target, journal: Journal) -> None:
    gateway = serve(proxying(target.url, more="workers: 2"))
    with Load(gateway.port) as load:
        load.go_on(150)
        counted = gateway.metric("gateway_http_requests_total")
        killed, victim = time.monotonic(), gateway.workers()[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in gateway.workers() and len(gateway.workers()) == 2)
        replaced_s = time.monotonic() - killed
        load.go_on(150)
    assert not load.outcomes.failed, load.outcomes
    assert gateway.metric("gateway_http_requests_total") >= counted, "counters never go back"
    Level(gateway).is_back()
    journal.note("kill -9 of one of two workers", load, replaced_s)


def test_setting_the_clock_changes_nothing_but_the_log(
    serve: Serve, upstream: Start, target: Target, tmp_path: Path, journal: Journal
) -> None:
    """A day back, then two days forward, with a target put aside and connections kept idle."""
    clock = WallClock(tmp_path)
    sick = upstream(b"HTTP/1.1 503 Sick\r\nContent-Length: 0\r\n\r\n")
    wary = "retry: {when: [connect, reset, 503]}, outlier: {errors: 3, eject: 1m}, breaker: {open: 1m}"
    gateway = serve(proxying(target.url, sick.url, of_upstream=wary), env=clock.env)
    with Load(gateway.port) as load, Raw(gateway.port) as kept:
        assert kept.send(ASK).answer().status == 200
        until(lambda: gateway.metric("gateway_upstream_target_up", target=sick.address) == 0)
        level, seen = Level(gateway), len(sick.requests)
        for ahead_s in (-DAY_S, DAY_S):
            clock.set(ahead_s)
            load.go_on(150)
        until(lambda: len({line["ts"][:10] for line in gateway.access_log()}) >= 3, what="three days in the log")
        assert kept.send(ASK).answer().status == 200, "it was not taken for idle"
    assert not load.outcomes.failed, load.outcomes
    assert len(sick.requests) == seen, "it stays aside"
    assert not gateway.metric("gateway_worker_restarts_total")
    level.is_back()
    journal.note("the clock set back by a day, then forward by two", load)


def test_a_limit_of_memory_is_not_reached(serve: Serve, target: Target, journal: Journal) -> None:
    """Bodies that are read whole, 200 MiB together: the gateway takes as many as `limits.buffered` allows."""
    big = b"POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MIB
    config = proxying(
        target.url, more="limits: {buffered: 32MiB, body_timeout: 1s}", of_route=", buffer: {request: 1MiB}"
    )
    gateway = serve(config)
    level, worker = Level(gateway), gateway.workers()[0]
    with memory_limited(worker, ROOM), Load(gateway.port) as load:
        with Crowd(gateway.port, BODIES, big + b"x" * (MIB - 100)) as crowd:
            heads, took_s = crowd.heads()
        load.go_on(100)
    assert set(heads) <= {"HTTP/1.1 503", "HTTP/1.1 408"}
    assert heads["HTTP/1.1 503"] > BODIES / 2
    assert not load.outcomes.failed, load.outcomes
    assert gateway.workers() == [worker]
    level.is_back()
    journal.note(f"{BODIES} slow bodies of 1 MiB in a worker with room for {ROOM // MIB} MiB more", load, took_s)
