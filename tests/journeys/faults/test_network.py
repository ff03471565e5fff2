"""A cut, slow and lossy link to one of two targets, and name servers that are gone, under a load of 500 requests/s."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.faraway import Faraway
from tests.support.faults import Journal, Level, proxying
from tests.support.gateway import Gateway
from tests.support.load import Load
from tests.support.target import Target
from tests.support.wait import until

Serve = Callable[..., Gateway]

WARY = (
    "timeout: {connect: 300ms, head: 500ms}, retry: {when: [connect, reset, timeout]}, "
    "health: {path: /, every: 200ms, timeout: 300ms}, outlier: {errors: 3, eject: 1s}"
)
ALONE = ("unshare", "--map-root-user", "--mount", "sh", "-ec")
NAMES = 'mount --bind "$0/hosts" /etc/hosts; mount --bind "$0/resolv.conf" /etc/resolv.conf; exec "$@"'


@pytest.fixture
def far() -> Iterator[Faraway]:
    with Faraway() as started:
        yield started


def answered(gateway: Gateway, far: Faraway) -> float:
    return gateway.metric("gateway_upstream_requests_total", target=far.address, code="200")


def test_a_link_that_is_cut_and_heals_costs_nothing(
    serve: Serve, target: Target, far: Faraway, journal: Journal
) -> None:
    gateway = serve(proxying(target.url, far.url, of_upstream=WARY))
    level = Level(gateway)
    with Load(gateway.port) as load:
        until(lambda: answered(gateway, far) > 20)
        far.become(cut=True)
        until(lambda: gateway.metric("gateway_upstream_target_up", target=far.address) == 0, what="put aside")
        load.go_on(150)
        far.become()
        healed, before = time.monotonic(), answered(gateway, far)
        until(lambda: answered(gateway, far) > before + 20, what="it is used again")
        recovery_s = time.monotonic() - healed
    assert not load.outcomes.failed, load.outcomes
    level.is_back()
    journal.note("the link to one of two targets is cut, and heals", load, recovery_s)


DELAY, LOSS = {"delay_s": 0.1}, {"loss": 0.1}


@pytest.mark.parametrize(
    ("how", "of_upstream", "fault"),
    [
        (DELAY, "", "the link to one of two targets delays by 100 ms each way"),
        (LOSS, "", "the link to one of two targets loses a tenth of the packets"),
        (LOSS, "hedge: {after: 50ms}", "the same, `hedge: {after: 50ms}`"),
    ],
)
def test_a_bad_link_costs_nothing(
    serve: Serve, target: Target, far: Faraway, journal: Journal, how: dict[str, float], of_upstream: str, fault: str
) -> None:
    gateway = serve(proxying(target.url, far.url, of_upstream=of_upstream))
    level = Level(gateway)
    with Load(gateway.port) as load:
        load.go_on(100)
        far.become(**how)
        load.go_on(400)
        far.become()
        load.go_on(50)
    assert not load.outcomes.failed, load.outcomes
    assert answered(gateway, far) > 10
    level.is_back()
    journal.note(fault, load)


def test_an_outage_of_dns_costs_nothing_and_ends_with_other_addresses(
    serve: Serve, tmp_path: Path, journal: Journal
) -> None:
    """The name is found in a hosts file of the gateway's own; without it a name server is asked that is not there."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 orders.test\n")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\noptions attempts:1 timeout:1\n")
    with Target() as first, Target(first.port, "127.0.0.2") as second:
        gateway = serve(proxying(f"dns://orders.test:{first.port}"), within=(*ALONE, NAMES, str(tmp_path)))
        level = Level(gateway)
        with Load(gateway.port) as load:
            hosts.write_text("")
            until(lambda: "keeping the last answer" in gateway.errors, what="it asked and had no answer")
            load.go_on(100)
            hosts.write_text("127.0.0.2 orders.test\n")
            back = time.monotonic()
            until(lambda: gateway.metric("gateway_upstream_requests_total", target=f"127.0.0.2:{second.port}") > 0)
            recovery_s = time.monotonic() - back
            first.kill()
            load.go_on(100)
        assert not load.outcomes.failed, load.outcomes
        assert gateway.errors.count("does not resolve") == gateway.errors.count("resolves again") == 1
        level.is_back()
    journal.note("DNS gone, then back with another address", load, recovery_s)
