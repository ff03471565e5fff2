"""What stands before upstreams and why, as /status and `gateway status` tell it while it happens."""

import asyncio
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.upstream import Upstream, Wire
from tests.support.wait import until

CONFIG = """\
queues:
  checkout: {{max: 5, wait: 20s, weight: 10}}
upstreams:
  dead: {{targets: ["http://{dead}"], breaker: {{minimum: 5, open: 30s}}}}
  pair:
    targets: ["http://{sick}", "http://{good}"]
    balance: round_robin
    outlier: {{errors: 3, eject: 30s}}
    retry: {{when: [503]}}
  shop: {{targets: ["http://{shop}"], concurrency: 1}}
  idle: {{targets: ["http://{good}", "http://{sick}"]}}
  late: {{targets: ["http://{shop}", "http://{good}"], balance: round_robin, hedge: {{after: 50ms}}}}
routes:
  - {{match: /dead, to: dead}}
  - {{match: /pair, to: pair}}
  - {{match: /shop, to: shop, class: checkout}}
  - {{match: /idle, to: idle}}
  - {{match: /late, to: late}}
"""
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def get(raw: Raw, path: str) -> int:
    return raw.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).answer().status


def shown(gateway: Gateway) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in gateway.status()["upstreams"]}


def test_why_requests_fail_or_wait(serve: Callable[..., Gateway], upstream: Callable[..., Upstream]) -> None:
    go_on = asyncio.Event()

    async def held(wire: Wire) -> None:
        await wire.request()
        await go_on.wait()

    with Upstream() as gone:
        dead = gone.address
    sick, good, shop = upstream(BAD), upstream(), upstream(held)
    gateway = serve(CONFIG.format(dead=dead, sick=sick.address, good=good.address, shop=shop.address))
    drain = f"{gateway.admin_url}/upstreams/idle/targets/{good.address}/drain"
    urllib.request.urlopen(urllib.request.Request(drain, method="POST")).close()
    with Raw(gateway.port) as raw, Raw(gateway.port) as first, Raw(gateway.port) as second:
        first.send(b"GET /shop HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: len(shop.requests) == 1)
        second.send(b"GET /shop HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [get(raw, "/dead") for _ in range(6)] == [502] * 5 + [503]
        assert {get(raw, "/pair") for _ in range(10)} == {200}
        assert {get(raw, "/late") for _ in range(4)} == {200}
        until(lambda: shown(gateway)["shop"]["limiter"]["waiting"] == 1)
        until(lambda: shown(gateway)["dead"]["breaker"]["state"] == "open")
        found = shown(gateway)
        circuit = found["dead"]["breaker"]["workers"][0]
        assert (circuit["state"], circuit["why"]) == ("open", "5 of 5 requests failed within 10s")
        assert 0 <= circuit["for_s"] <= 30 - circuit["retry_in_s"] + 0.2
        ejected = found["pair"]["targets"][0]
        assert ejected["state"] == "ejected"
        assert ejected["why"].startswith("3 errors in a row; back in 2")
        assert found["pair"]["targets"][1]["state"] == "unchecked"
        retries = found["pair"]["retries"]
        assert (retries["used"], retries["allowed"], retries["outcomes"]) == (3, 10, {"ok": 3})
        limiter = found["shop"]["limiter"]
        assert limiter["workers"] == [{"worker": 0, "state": "full", "limit": 1, "in_flight": 1, "waiting": 1}]
        assert limiter["kind"] == "fixed"
        assert (found["late"]["hedges"], found["shop"]["hedges"]) == ({"after_s": 0.05, "outcomes": {"won": 2}}, None)
        assert found["idle"]["targets"][0]["why"] == "by hand"
        assert (found["idle"]["breaker"], found["idle"]["limiter"]) == (None, None)
        queues = {each["name"]: each for each in gateway.status()["queues"]}
        assert (queues["checkout"]["depth"], queues["default"]["oldest_s"]) == (1, None)
        assert 0 < queues["checkout"]["oldest_s"] < 20
        assert queues["checkout"]["weight"] == 10
        shop.run(go_on.set)


def test_what_a_hung_worker_does_is_unknown_and_nobody_waits_for_it(
    serve: Callable[..., Gateway], upstream: Callable[..., Upstream]
) -> None:
    gateway = serve(f"""\
workers: 2
upstreams: {{u: {{targets: ["{upstream().url}"], breaker: {{open: 1s}}, concurrency: adaptive}}}}
routes: [{{match: /*, to: u}}]
""")

    def states(of: str) -> list[str]:
        return [each["state"] for each in shown(gateway)["u"][of]["workers"]]

    until(lambda: states("breaker") == ["closed", "closed"])
    stopped = gateway.workers()[1]
    os.kill(stopped, signal.SIGSTOP)
    try:
        until(lambda: states("breaker") == ["closed", "unknown"])
        began = time.monotonic()
        found = shown(gateway)["u"]
        print(f"/status beside a stopped worker: {(time.monotonic() - began) * 1000:.1f} ms")
        assert time.monotonic() - began < 5.0
        assert found["limiter"]["workers"][1] == {"worker": 1, "state": "unknown"}
        assert found["breaker"]["state"] == "closed"
        assert found["limiter"]["limit"] == found["limiter"]["workers"][0]["limit"]
    finally:
        os.kill(stopped, signal.SIGCONT)
    until(lambda: states("breaker") == ["closed", "closed"])
