"""An upstream that takes one request at a time, in front of a real gateway with queues."""

import asyncio
from collections.abc import Callable

from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.upstream import Upstream, Wire
from tests.support.wait import until

CONFIG = """\
queues:
  checkout: {{max: 2, wait: 10s, weight: 10}}
  default: {{max: 1, wait: 200ms}}
upstreams:
  shop: {{targets: ["{url}"], concurrency: 1}}
routes:
  - {{name: orders, match: POST /orders, to: shop, class: checkout}}
  - {{name: other, match: /*, to: shop}}
"""
ORDER = b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
OTHER = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


def test_what_is_too_much_waits_by_class_or_is_refused(
    serve: Callable[..., Gateway], upstream: Callable[..., Upstream]
) -> None:
    go_on = asyncio.Event()

    async def held(wire: Wire) -> None:
        while True:
            await wire.request()
            await go_on.wait()
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    shop = upstream(held)
    gateway = serve(CONFIG.format(url=shop.url))

    def waiting(queue: str) -> float:
        return gateway.metric("gateway_queue_depth", queue=queue)

    with (
        Raw(gateway.port) as first,
        Raw(gateway.port) as order,
        Raw(gateway.port) as late,
        Raw(gateway.port) as more,
        Raw(gateway.port) as newest,
    ):
        first.send(OTHER)
        until(lambda: len(shop.requests) == 1)
        order.send(ORDER)
        late.send(OTHER)
        answer = late.answer()
        assert (answer.status, answer.reason) == (503, "queue_timeout")
        assert int(answer.get("retry-after") or 0) >= 1
        until(lambda: waiting("checkout") == 1)
        assert len(shop.requests) == 1, "one at a time"
        more.send(ORDER)
        until(lambda: waiting("checkout") == 2)
        newest.send(ORDER)  # the line stands: who waits longest makes room
        answer = order.answer()
        assert (answer.status, answer.reason) == (503, "queue_full")
        shop.run(go_on.set)
        assert [each.answer().status for each in (first, more, newest)] == [200, 200, 200]
    until(
        lambda: waiting("checkout") == 0 and gateway.metric("gateway_upstream_requests_in_flight", upstream="shop") == 0
    )
    assert gateway.metric("gateway_concurrency_limit", upstream="shop") == 1
    assert gateway.metric("gateway_queue_rejected_total", queue="default", reason="queue_timeout") == 1
    assert gateway.metric("gateway_queue_rejected_total", queue="checkout", reason="queue_full") == 1
