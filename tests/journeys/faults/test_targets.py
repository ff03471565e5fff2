"""Targets that die, hang, reset and talk nonsense, under a load of 500 requests/s.

What another target could have answered is answered. `pytest tests/journeys/faults -s` prints the table of
gateway/README.md.
"""

import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

from tests.support.crowd import Crowd
from tests.support.faults import Journal, Level, proxying
from tests.support.gateway import Gateway
from tests.support.load import Load
from tests.support.target import Target
from tests.support.upstream import OK, Script, Upstream, Wire
from tests.support.wait import until

Serve = Callable[..., Gateway]
Start = Callable[..., Upstream]

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(500)
RETRY = "timeout: {connect: 5s}, retry: {when: [connect, reset]}"
WARY = (
    "timeout: {connect: 1s, head: 300ms}, retry: {when: [connect, reset, timeout]}, "
    "health: {path: /health, every: 200ms, timeout: 100ms}, outlier: {errors: 3, eject: 1m}"
)
HUNG = 60


async def mute(wire: Wire) -> None:
    await wire.eof()


def at_last(fault: Callable[[Wire], Awaitable[None]], met: Counter[str]) -> Script:
    """A script whose connections serve 10 requests and meet the 11th with the fault, which is counted."""

    async def script(wire: Wire) -> None:
        for _ in range(10):
            await wire.head()
            await wire.send(OK)
        await wire.head()
        met["faults"] += 1
        await fault(wire)

    return script


def retried(gateway: Gateway, outcome: str = "ok") -> float:
    return gateway.metric("gateway_upstream_retries_total", outcome=outcome)


def test_kill_9_of_one_of_two_targets_costs_nothing(serve: Serve, target: Target, journal: Journal) -> None:
    with ExitStack() as stack:
        victim = stack.enter_context(Target())
        gateway = serve(proxying(target.url, victim.url, of_upstream=RETRY))
        level = Level(gateway)
        with Load(gateway.port) as load:
            load.go_on(150)
            victim.kill()
            load.go_on(300)
            stack.enter_context(Target(victim.port))
            load.go_on(150)
        assert not load.outcomes.failed, load.outcomes
        until(lambda: retried(gateway) > 0)
        level.is_back()
    journal.note("kill -9 of one of two targets, and its return", load)


def test_the_only_target_dead_for_a_second_costs_that_second(serve: Serve, journal: Journal) -> None:
    with ExitStack() as stack:
        victim = stack.enter_context(Target())
        gateway = serve(proxying(victim.url))
        level = Level(gateway)
        with Load(gateway.port) as load:
            load.go_on(150)
            assert not load.outcomes.failed
            victim.kill()
            load.go_on(550)
            stack.enter_context(Target(victim.port))
            back = time.monotonic()
            until(lambda: time.monotonic() > max(back, load.outcomes.last_bad) + 1, what="a second without a failure")
        assert load.outcomes.last_bad - back < 1
        assert set(load.outcomes.counts) == {"200", "502"}
        assert set(load.outcomes.reasons) <= {"connect_refused", "upstream_reset"}
        level.is_back()
    journal.note("the only target dead for 550 requests", load, load.outcomes.last_bad - back)


def test_a_target_that_never_answers_is_put_aside_and_costs_nothing(
    serve: Serve, upstream: Start, target: Target, journal: Journal
) -> None:
    """It answers its checks and nothing else, so that they alone do not find it."""

    async def healthy_and_mute(wire: Wire) -> None:
        while b"/health" in await wire.head():
            await wire.send(OK)
        await wire.eof()

    hung = upstream(healthy_and_mute)
    gateway = serve(proxying(target.url, hung.url, of_upstream=WARY))
    level, begun = Level(gateway), time.monotonic()
    with Load(gateway.port) as load:
        until(lambda: gateway.metric("gateway_upstream_target_up", target=hung.address) == 0, what="put aside")
        aside_s = time.monotonic() - begun
        load.go_on(250)
    assert not load.outcomes.failed, load.outcomes
    assert gateway.metric("gateway_upstream_ejections_total", target=hung.address) == 1
    until(lambda: retried(gateway) >= 3, what="its retries are counted")
    assert retried(gateway) <= load.outcomes.total / 10
    level.is_back()
    journal.note("one of two targets never answers (`timeout.head` 300 ms); `outlier` puts it aside", load, aside_s)


def test_hedges_wait_for_no_target_that_never_answers(
    serve: Serve, upstream: Start, target: Target, journal: Journal
) -> None:
    """Nothing puts it aside: who waited for it in vain asked another meanwhile, as often as need be."""
    hedged = "timeout: {connect: 1s, head: 300ms}, hedge: {after: 50ms}, retry: {budget: 100%}"
    gateway = serve(proxying(target.url, upstream(mute).url, of_upstream=hedged))
    level = Level(gateway)
    with Load(gateway.port) as load:
        load.go_on(300)
    assert not load.outcomes.failed, load.outcomes
    until(lambda: gateway.metric("gateway_upstream_hedges_total", outcome="won") > 0)
    level.is_back()
    journal.note("one of two targets never answers; `hedge: {after: 50ms}`", load)


def test_a_target_that_hangs_is_found_by_its_checks(
    serve: Serve, upstream: Start, target: Target, journal: Journal
) -> None:
    hung = upstream(mute)
    gateway = serve(proxying(target.url, hung.url, of_upstream=WARY))
    level = Level(gateway)
    until(lambda: gateway.metric("gateway_upstream_target_up", target=hung.address) == 0, what="its first check fails")
    with Load(gateway.port) as load:
        load.go_on(300)
    assert set(load.outcomes.counts) == {"200"}
    assert not retried(gateway)
    level.is_back()
    journal.note("one of two targets fails its checks", load)


def test_requests_to_a_target_that_never_answers_end_in_time(
    serve: Serve, upstream: Start, target: Target, journal: Journal
) -> None:
    config = proxying(target.url).replace(
        "upstreams: {", f'upstreams: {{hung: {{targets: "{upstream(mute).url}", timeout: 1s}}, '
    )
    gateway = serve(config.replace("routes: [", "routes: [{name: hung, match: /hung, to: hung}, "))
    level = Level(gateway)
    with Load(gateway.port) as load:
        load.go_on(100)
        with Crowd(gateway.port, HUNG, b"GET /hung HTTP/1.1\r\nHost: a\r\n\r\n") as crowd:
            heads, took_s = crowd.heads()
        load.go_on(100)
    assert heads == {"HTTP/1.1 504": HUNG}
    assert took_s < 1 + 4
    assert not load.outcomes.failed, load.outcomes
    level.is_back()
    journal.note(f"{HUNG} requests to a target that never answers (`timeout` 1 s)", load, took_s)


def test_a_target_that_dies_without_an_answer_gets_few_more_tries(
    serve: Serve, upstream: Start, journal: Journal
) -> None:
    """Both reset whatever comes: what is idempotent is tried again within the budget, a POST never."""
    tries: Counter[bytes] = Counter()

    async def reset(wire: Wire) -> None:
        tries[(await wire.head()).split()[0]] += 1
        wire.reset()

    gateway = serve(proxying(upstream(reset).url, upstream(reset).url, of_upstream=RETRY))
    level = Level(gateway)
    for method in ("GET", "POST"):
        with Load(gateway.port, method=method) as load:
            load.go_on(250)
        assert set(load.outcomes.counts) == {"502"}
        assert set(load.outcomes.reasons) == {"upstream_reset"}
        each = tries[method.encode()] / load.outcomes.total
        assert each <= (1.2 if method == "GET" else 1.0)
        journal.note(f"all targets reset what they read: {each:.2f} tries a {method}", load)
    level.is_back()


def test_resets_in_the_middle_of_a_body_cut_that_answer_alone(serve: Serve, upstream: Start, journal: Journal) -> None:
    async def reset(wire: Wire) -> None:
        await wire.send(HALF)
        wire.reset()

    met: Counter[str] = Counter()
    gateway = serve(proxying(upstream(at_last(reset, met)).url, of_upstream=RETRY))
    level = Level(gateway)
    with Load(gateway.port) as load:
        load.go_on(300)
    assert load.outcomes.counts["truncated"] == load.outcomes.failed == met["faults"] > 10
    level.is_back()
    journal.note("a reset in the body of one of 11 answers", load)


def test_garbage_from_one_of_two_targets_costs_nothing(
    serve: Serve, upstream: Start, target: Target, journal: Journal
) -> None:
    async def garbage(wire: Wire) -> None:
        await wire.send(os.urandom(200) + b"\r\n\r\n")

    met: Counter[str] = Counter()
    gateway = serve(proxying(target.url, upstream(at_last(garbage, met)).url, of_upstream=RETRY))
    level = Level(gateway)
    with Load(gateway.port) as load:
        load.go_on(350)
    assert not load.outcomes.failed, load.outcomes
    until(lambda: retried(gateway) == met["faults"])
    assert met["faults"] >= 5
    level.is_back()
    journal.note("garbage for one of 11 answers of one of two targets", load)


def test_a_target_whose_tls_handshake_fails_costs_nothing(
    serve: Serve, upstream: Start, target: Target, journal: Journal
) -> None:
    async def script(wire: Wire) -> None:
        await wire.reader.read(100)
        await wire.send(b"there is no TLS here")

    bad = upstream(script)
    gateway = serve(proxying(target.url, f"https://127.0.0.1:{bad.port}"))
    level = Level(gateway)
    with Load(gateway.port) as load:
        load.go_on(300)
    assert bad.connections > 0
    assert not load.outcomes.failed, load.outcomes
    level.is_back()
    journal.note("TLS handshakes with one of two targets fail", load)
