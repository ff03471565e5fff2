"""One of two targets is slow, over real sockets: the other one answers, and nobody is asked twice who must not be."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic
from typing import Any

from tests.support.corpus import request
from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.upstream import OK, Upstream, Wire
from tests.support.wait import until

SLOW_S = 1.0
GET = request(line=b"GET /x HTTP/1.1")
LARGE = 3_000_000
Serve = Callable[..., Gateway]
Start = Callable[..., Upstream]


def config(*targets: Upstream, hedge: str = "25ms") -> str:
    listed = ", ".join(each.url for each in targets)
    return (
        f"upstreams: {{u: {{targets: [{listed}], balance: round_robin, hedge: {hedge}, retry: {{budget: 100%}}}}}}\n"
        "routes:\n"
        "  - {name: all, match: /*, to: u, timeout: 10s}\n"
        "  - {name: both, match: /both, aggregate: {sources: {a: {to: u, path: /a}}}}\n"
    )


class Slow:
    """A script whose answers take SLOW_S; `cut` counts those that nobody waited for."""

    def __init__(self, body: bytes = b'"slow"') -> None:
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        self.cut = 0

    async def __call__(self, wire: Wire) -> None:
        while True:
            await wire.request()
            left = asyncio.ensure_future(wire.eof())
            done, _ = await asyncio.wait([left], timeout=SLOW_S)
            if done:
                self.cut += 1
                return
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)
            await wire.send(self.answer)


def fast(body: bytes = b'"fast"') -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def logged(gateway: Gateway, count: int) -> list[dict[str, Any]]:
    until(lambda: len(gateway.access_log()) >= count, what=f"{count} lines")
    return gateway.access_log()


def hedges(gateway: Gateway) -> tuple[float, float]:
    """Won, lost."""
    won, lost = (
        gateway.metric("gateway_upstream_hedges_total", upstream="u", outcome=each) for each in ("won", "lost")
    )
    return won, lost


def idle(gateway: Gateway) -> bool:
    return not gateway.metric("gateway_upstream_requests_in_flight", upstream="u")


def test_with_one_of_two_targets_slow_no_request_is(serve: Serve, upstream: Start) -> None:
    script = Slow()
    slow, quick = upstream(script), upstream(fast())
    gateway = serve(config(slow, quick))
    times = []
    with Raw(gateway.port) as raw:
        for _ in range(24):
            began = monotonic()
            answer = raw.send(GET).answer()
            times.append(monotonic() - began)
            assert (answer.status, answer.body) == (200, b'"fast"')
    times.sort()
    print(f"of 24 requests the median took {times[12] * 1e3:.1f} ms, the slowest {times[-1] * 1e3:.1f} ms")
    assert times[-2] < SLOW_S * 0.8, "half of them would have taken a second"
    lines = logged(gateway, 24)
    assert {(each.get("hedged"), each["attempts"]) for each in lines} == {(None, 1), (True, 2)}
    assert {each["target"] for each in lines} == {quick.address}
    until(lambda: hedges(gateway) == (12.0, 0.0), what="12 won")
    until(lambda: script.cut == 12, what="each loser's connection is closed")
    assert gateway.metric("gateway_upstream_errors_total", upstream="u") == 0
    until(lambda: idle(gateway), what="nothing is under way")


def test_what_is_not_idempotent_is_asked_once(serve: Serve, upstream: Start) -> None:
    slow, quick = upstream(Slow()), upstream(fast())
    gateway = serve(config(slow, quick))
    bodies = []
    for _ in range(2):
        with Raw(gateway.port) as raw:
            raw.send(request(b"Content-Length: 3", line=b"POST /orders HTTP/1.1", body=b"one"))
            bodies.append(raw.answer().body)
    assert sorted(bodies) == [b'"fast"', b'"slow"']
    assert (len(slow.requests), len(quick.requests)) == (1, 1)
    assert {each["attempts"] for each in logged(gateway, 2)} == {1}
    assert hedges(gateway) == (0.0, 0.0)


def test_a_client_that_leaves_ends_both(serve: Serve, upstream: Start) -> None:
    scripts = [Slow(), Slow()]
    targets = [upstream(each) for each in scripts]
    gateway = serve(config(*targets))
    with Raw(gateway.port) as raw:
        raw.send(GET)
        until(lambda: all(each.requests for each in targets), what="both are asked")
    until(lambda: [each.cut for each in scripts] == [1, 1], what="both are cut")
    (line,) = logged(gateway, 1)
    assert (line["reason"], line["hedged"]) == ("client_closed", True)
    until(lambda: idle(gateway), what="nothing is under way")
    until(lambda: hedges(gateway) == (0.0, 1.0), what="counted")


def test_the_winner_streams_its_whole_body_and_the_losers_connection_is_not_used_again(
    serve: Serve, upstream: Start
) -> None:
    """Also where the loser has begun to answer, in a head that is not whole."""
    large = bytes(range(256)) * (LARGE // 256)

    async def half(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        await wire.eof()

    hangs, good = upstream(half), upstream(fast(large))
    gateway = serve(config(hangs, good))
    with Raw(gateway.port) as raw:
        for _ in range(6):
            answer = raw.send(GET).answer()
            assert answer.status == 200
            assert answer.body == large
    assert hangs.connections == len(hangs.requests) == 3, "a new connection each time"
    assert good.connections == 1


def test_all_slow_is_no_storm(serve: Serve, upstream: Start) -> None:
    """60 requests at once: ten more in quiet times, or a fifth more."""
    targets = [upstream(Slow()) for _ in range(2)]
    gateway = serve(config(*targets).replace("100%", "20%"))
    with ExitStack() as stack:
        raws = [stack.enter_context(Raw(gateway.port)).send(GET) for _ in range(60)]
        assert [raw.answer().status for raw in raws] == [200] * 60
    assert len(logged(gateway, 60)) == 60
    assert sum(each["attempts"] for each in gateway.access_log()) <= 72


def test_sources_of_aggregates_are_hedged_and_a_percentile_is_learned(serve: Serve, upstream: Start) -> None:
    """The first hundred answers are quick; then one of the targets stalls."""
    stalls = asyncio.Event()

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            if stalls.is_set():
                await wire.eof()
                return
            await wire.send(OK.replace(b"ok", b"12"))

    first, second = upstream(script), upstream(OK.replace(b"ok", b"34"))
    gateway = serve(config(first, second, hedge="p95"))
    with Raw(gateway.port) as raw:
        for _ in range(120):
            assert raw.send(GET).answer().status == 200
    first.run(stalls.set)
    for _ in range(4):
        with Raw(gateway.port) as raw:
            answer = raw.send(request(line=b"GET /both HTTP/1.1")).answer()
            assert (answer.status, answer.body) == (200, b'{"a":34}')
    assert sum(each.get("hedged", False) for each in logged(gateway, 124)[120:]) >= 1
