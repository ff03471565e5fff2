"""An upstream is changed under load: what is known of it, and what is under way, is not forgotten."""

import asyncio
import threading
from collections.abc import Callable

from tests.journeys.test_reload import change
from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.load import Load
from tests.support.raw import Raw
from tests.support.upstream import OK, Upstream, Wire
from tests.support.wait import until

Serve = Callable[..., Gateway]
BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"
LIMIT = 4


class Busy:
    """Targets that take 10 ms for an answer, and how many requests all of them had at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    async def __call__(self, wire: Wire) -> None:
        while True:
            await wire.request()
            self._count(1)
            await asyncio.sleep(0.01)  # what an answer takes
            self._count(-1)
            await wire.send(OK)

    def _count(self, by: int) -> None:
        with self._lock:
            self.now += by
            self.most = max(self.most, self.now)


def test_the_limit_holds_and_connections_stay_while_an_upstream_changes(
    serve: Serve, upstream: Callable[..., Upstream]
) -> None:
    busy = Busy()
    sites = [upstream(busy) for _ in range(3)]
    one, two, three = sites

    def config(weight: int, *more: Upstream, limit: int = LIMIT) -> str:
        targets = [f"{{url: {one.url}, weight: {weight}}}", two.url, *(each.url for each in more)]
        return (
            "workers: 1\nqueues: {default: {wait: 30s}}\n"
            f"upstreams: {{u: {{targets: [{', '.join(targets)}], concurrency: {limit}}}}}\n"
            "routes: [{name: r, match: /*, to: u}]\n"
        )

    gateway = serve(config(1))
    with Load(gateway.port) as load:
        load.go_on(200)
        for weight in range(2, 12):
            change(gateway, config(weight))
            load.go_on(20)
            assert 0 <= gateway.metric("gateway_upstream_requests_in_flight", upstream="u") <= LIMIT
        change(gateway, config(11, three))
        load.go_on(100)
    assert (load.outcomes.failed, busy.most) == (0, LIMIT), load.outcomes
    assert max(site.connections for site in sites) <= LIMIT, "none was made twice"
    assert three.requests, "the new one takes part"
    print(f"{load.outcomes.total} requests, {[site.connections for site in sites]} connections")
    with Load(gateway.port) as load:
        load.go_on(100)
        change(gateway, config(11, three, limit=1))
        until(lambda: busy.now <= 1, what="the end of what began before")
        busy.most = 0
        load.go_on(50)
    assert (load.outcomes.failed, busy.most) == (0, 1), load.outcomes
    until(lambda: gateway.metric("gateway_upstream_requests_in_flight", upstream="u") == 0)
    assert gateway.metric("gateway_concurrency_limit", upstream="u") == 1


def test_who_is_put_aside_and_a_circuit_that_is_open_stay_so(serve: Serve, upstream: Callable[..., Upstream]) -> None:
    with Upstream() as gone:
        dead = gone.url
    sick, good, more = upstream(BAD), upstream(), upstream()

    def config(*targets: str, head: str) -> str:
        return (
            f"workers: 1\nupstreams:\n  u: {{targets: [{', '.join(targets)}], timeout: {{head: {head}}}, "
            "outlier: {errors: 3, eject: 60s}}\n"
            f"  dead: {{targets: [{dead}], timeout: {{head: {head}}}, breaker: {{minimum: 10, open: 60s}}}}\n"
            "routes: [{name: d, match: /dead, to: dead}, {name: r, match: /*, to: u}]\n"
        )

    def ask(path: str = "/") -> Answer:
        return raw.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).answer()

    def state(site: Upstream) -> str:
        targets = next(each for each in gateway.status()["upstreams"] if each["name"] == "u")["targets"]
        return str({each["address"]: each["state"] for each in targets}[site.address])

    gateway = serve(config(sick.url, good.url, head="10s"))
    with Raw(gateway.port) as raw:
        assert [ask().status for _ in range(20)].count(500) == 3
        assert [ask("/dead").reason for _ in range(12)][-2:] == ["circuit_open"] * 2
        change(gateway, config(more.url, sick.url, good.url, head="9s"))
        assert {ask().status for _ in range(30)} == {200}
        assert (len(sick.requests), good.connections) == (3, 1)
        assert ask("/dead").reason == "circuit_open"
        until(lambda: state(sick) == "ejected", what="what the worker says of it")
        assert gateway.metric("gateway_circuit_state", upstream="dead", state="open") == 1
        change(gateway, config(good.url, head="9s"))
        assert {ask().status for _ in range(10)} == {200}
        assert good.connections == 1
    until(lambda: gateway.metric("gateway_upstream_target_up", upstream="u") == 1)
    assert gateway.metric("gateway_upstream_ejections_total", upstream="u") == 1
