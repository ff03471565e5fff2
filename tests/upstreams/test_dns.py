"""`dns://` targets come and go with the answers of DNS; those that stay keep their state."""

from contextlib import nullcontext

import pytest

from gateway.core.errors import GatewayError
from gateway.transport.resolver import FRESH_S
from gateway.upstreams.settings import TargetSettings
from gateway.upstreams.upstream import Upstream
from tests.support.h11_upstream import H11Upstream
from tests.support.http import read_answers
from tests.support.wired import Wired, proxy

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
NAMED = TargetSettings("orders.internal", 80, dns=True)


def _wired(*targets: TargetSettings) -> Wired:
    return Wired(proxy(upstream={"targets": targets or (NAMED,)}))


async def _resolved(wired: Wired, *addresses: str) -> Upstream:
    """The upstream when DNS has given `addresses` for its name (none: it gave an error)."""
    wired.addresses = list(addresses)
    upstream = wired.gateway.upstreams["u"]
    wired.now += FRESH_S + 1
    with nullcontext() if addresses else pytest.raises(GatewayError, match="dns_failed"):
        await upstream._look_up(NAMED)
    return upstream


def _keys(upstream: Upstream) -> list[str]:
    return [target.key for target in upstream.targets]


async def test_every_address_is_a_target() -> None:
    wired = _wired()
    wired.addresses = ["10.0.0.1", "10.0.0.2", "fd00::1"]
    await wired.gateway.start()
    upstream = wired.gateway.upstreams["u"]
    assert sorted(_keys(upstream)) == ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]
    wired.gateway.close()


async def test_targets_come_and_go_and_those_that_stay_keep_their_state() -> None:
    wired = _wired()
    upstream = await _resolved(wired, "10.0.0.1", "10.0.0.2")
    stays = upstream.targets[1]
    stays.ewma_s = 0.5
    await _resolved(wired, "10.0.0.2", "10.0.0.3")
    assert sorted(_keys(upstream)) == ["10.0.0.2:80", "10.0.0.3:80"]
    assert stays in upstream.targets


async def test_requests_to_a_target_that_left_end_well_and_its_connections_close() -> None:
    wired = _wired()
    upstream = await _resolved(wired, "10.0.0.1")
    idle, busy = wired.client(), wired.client()
    idle.send(GET)
    busy.send(GET)
    await wired.settle()
    first, second = wired.upstreams
    first.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    await wired.settle()
    await _resolved(wired, "10.0.0.2")
    await wired.settle()
    assert not first.is_open, "it was idle"
    assert second.is_open
    second.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    await wired.settle()
    assert [each.status for each in read_answers(bytes(busy.received))] == [200]
    assert not second.is_open, "nobody will lease it again"
    upstream.flush()
    assert _keys(upstream) == ["10.0.0.2:80"]


async def test_a_target_that_comes_back_under_its_last_request_is_up() -> None:
    wired = _wired()
    await _resolved(wired, "10.0.0.1")
    client = wired.client()
    client.send(GET)
    await wired.settle()
    await _resolved(wired, "10.0.0.2")
    upstream = await _resolved(wired, "10.0.0.1")
    upstream.flush()
    up = wired.registry.gauge("gateway_upstream_target_up", upstream="u", target="10.0.0.1:80")
    assert wired.registry.cells[up] == 1.0
    client.reset()
    await wired.settle()


async def test_a_dead_dns_server_keeps_the_targets() -> None:
    wired = _wired()
    upstream = await _resolved(wired, "10.0.0.1", "10.0.0.2")
    await _resolved(wired)
    assert sorted(_keys(upstream)) == ["10.0.0.1:80", "10.0.0.2:80"]


async def test_a_name_that_does_not_resolve_yet_is_a_503_and_heals() -> None:
    wired = _wired()
    wired.addresses = []
    await wired.gateway.start()
    H11Upstream(wired)
    client = wired.client()
    client.send(GET)
    await wired.settle()
    (answer,) = read_answers(client.clear())
    assert (answer.status, answer.reason) == (503, "no_healthy_target")
    await _resolved(wired, "10.0.0.1")
    client.send(GET)
    await wired.settle()
    assert [each.status for each in read_answers(client.clear())] == [200]
    wired.gateway.close()


async def test_fixed_targets_stay_beside_named_ones() -> None:
    wired = _wired(TargetSettings("10.9.9.9", 80), NAMED)
    upstream = await _resolved(wired, "10.0.0.1")
    await _resolved(wired, "10.0.0.2")
    assert sorted(_keys(upstream)) == ["10.0.0.2:80", "10.9.9.9:80"]
