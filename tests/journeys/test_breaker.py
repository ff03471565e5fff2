"""An upstream that dies and comes back, in front of a real gateway with a circuit."""

from collections.abc import Callable

from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.raw import Raw
from tests.support.upstream import Upstream
from tests.support.wait import until


def test_a_dead_upstream_opens_the_circuit_and_trials_close_it(
    serve: Callable[..., Gateway], upstream: Callable[..., Upstream]
) -> None:
    with Upstream() as gone:
        port = gone.port
    gateway = serve(f"""\
upstreams:
  u: {{targets: ["http://127.0.0.1:{port}"], breaker: {{minimum: 10, open: 1s}}}}
routes:
  - {{match: /*, to: u}}
""")

    def ask() -> Answer:
        return raw.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer()

    def state(name: str) -> float:
        return gateway.metric("gateway_circuit_state", upstream="u", state=name)

    with Raw(gateway.port) as raw:
        reasons = [ask().get("x-gateway-reason") for _ in range(30)]
        assert reasons == ["connect_refused"] * 10 + ["circuit_open"] * 20
        assert ask().get("retry-after") == "1"
        until(lambda: state("open") == 1 and state("closed") == 0)
        assert gateway.metric("gateway_responses_generated_total", reason="circuit_open") == 21
        back = upstream(port=port)
        until(lambda: ask().status == 200)
        assert [ask().status for _ in range(20)] == [200] * 20
        assert len(back.requests) == 21
        until(lambda: state("closed") == 1 and state("open") == 0)
    assert gateway.errors.count("circuit open for 1s: 10 of 10 requests failed within 10s") == 1
