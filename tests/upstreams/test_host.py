"""What Host says where it names the target: what the config calls it, not what the metrics do."""

import pytest

from gateway.config.model_upstream import parse_target
from gateway.pipeline.settings import ForwardSettings
from tests.support.wired import Wired, proxy


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://10.0.0.1:8000", "10.0.0.1:8000"),
        ("http://10.0.0.1", "10.0.0.1"),
        ("http://[fd00::1]:8000", "[fd00::1]:8000"),
        ("http://[fd00::1]", "[fd00::1]"),
        ("http://orders.internal:443", "orders.internal:443"),
        ("https://orders.internal", "orders.internal"),
        ("https://orders.internal:80", "orders.internal:80"),
        ("dns://orders.internal:8000", "orders.internal:8000"),
        ("unix:/run/app.sock", "localhost"),
    ],
)
def test_the_name_of_a_target(url: str, host: str) -> None:
    assert parse_target(url).authority == host


@pytest.mark.parametrize(
    ("host", "head"),
    [("upstream", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), ("pass", b"GET / HTTP/1.0\r\n\r\n")],
    ids=["by config", "none came"],
)
async def test_it_is_sent_by_config_and_where_the_client_sent_none(host: str, head: bytes) -> None:
    answer = ForwardSettings((("u", 1),), host=host)
    wired = Wired(proxy(upstream={"targets": (parse_target("dns://orders.internal:8000"),)}, route={"answer": answer}))
    wired.addresses = ["10.0.0.9"]
    await wired.gateway.start()
    wired.client().send(head)
    await wired.settle()
    assert b"\r\nHost: orders.internal:8000\r\n" in wired.upstreams[0].received
    wired.gateway.close()
