"""A target that answers 500 to everything, beside a good one, in front of a real gateway."""

from collections.abc import Callable

from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.upstream import OK, Recorded, Upstream, answering
from tests.support.wait import until

BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"


def test_a_target_that_answers_500_is_put_aside_and_comes_back(
    serve: Callable[..., Gateway], upstream: Callable[..., Upstream]
) -> None:
    broken = True

    def answer(_: Recorded) -> bytes:
        return BAD if broken else OK

    sick, good = upstream(answering(answer)), upstream()
    gateway = serve(f"""\
upstreams:
  u:
    targets: ["{sick.url}", "{good.url}"]
    balance: round_robin
    outlier: {{errors: 3, eject: 1s}}
routes:
  - {{match: /*, to: u}}
""")

    def ask() -> int:
        return raw.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().status

    with Raw(gateway.port) as raw:
        statuses = [ask() for _ in range(60)]
        assert statuses.count(500) == 3
        assert statuses[-50:] == [200] * 50
        assert "is put aside for 1s: 3 errors in a row" in gateway.errors
        until(lambda: gateway.metric("gateway_upstream_target_up", target=sick.address) == 0)
        assert gateway.metric("gateway_upstream_ejections_total", target=sick.address) == 1
        broken = False
        seen = len(sick.requests)
        until(lambda: ask() == 200 and len(sick.requests) > seen)
        until(lambda: gateway.metric("gateway_upstream_target_up", target=sick.address) == 1)
