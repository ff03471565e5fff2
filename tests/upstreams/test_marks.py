"""What checks and operators say of a target, where the worker keeps it."""

import asyncio
from pathlib import Path

from gateway.config.load import load
from gateway.config.model_upstream import parse_target
from gateway.config.settings import GatewaySettings
from gateway.observe.registry import Registry
from gateway.runtime.assemble import assemble
from gateway.runtime.release import release
from gateway.upstreams.upstream import Upstream
from tests.support.wired import Wired, proxy


def made(wired: Wired) -> Upstream:
    return wired.gateway.upstreams["u"]


async def test_who_comes_back_is_new_and_who_stays_is_not() -> None:
    targets = (parse_target("http://10.0.0.1:80"), parse_target("http://10.0.0.2:80"))
    wired = Wired(proxy(upstream={"targets": targets, "slow_start_s": 3.0}))
    upstream = made(wired)
    first, second = upstream.targets
    joined = first.started_at
    assert (first.slow_start_s, second.slow_start_s) == (3.0, 3.0)

    wired.now += 100
    for checked, drained in ((False, False), (False, True), (True, True)):
        upstream.mark(first.key, checked, drained)
        assert upstream.usable == (second,)
    upstream.mark(first.key, True, False)
    assert upstream.usable == (first, second)
    assert (first.started_at, second.started_at) == (joined + 100, joined)
    wired.gateway.close()


async def test_all_that_fail_are_used_but_none_that_is_drained() -> None:
    targets = (parse_target("http://10.0.0.1:80"), parse_target("http://10.0.0.2:80"))
    wired = Wired(proxy(upstream={"targets": targets}))
    upstream = made(wired)
    first, second = upstream.targets
    upstream.mark(first.key, False, False)
    upstream.mark(second.key, False, False)
    assert upstream.usable == (first, second)
    assert upstream.panics
    upstream.mark(first.key, False, True)
    assert upstream.usable == (second,)
    upstream.mark(second.key, True, True)
    assert upstream.usable == ()
    assert not upstream.panics
    wired.gateway.close()


async def test_a_mark_waits_for_a_target_that_dns_names_later() -> None:
    wired = Wired(proxy(upstream={"targets": (parse_target("dns://orders.internal:80"),)}))
    upstream = made(wired)
    upstream.mark("10.0.0.9:80", False, True)
    wired.addresses = ["10.0.0.9", "10.0.0.8"]
    await wired.gateway.start()
    assert [target.key for target in upstream.usable] == ["10.0.0.8:80"]
    wired.gateway.close()


async def test_what_was_said_holds_for_what_the_next_config_names(tmp_path: Path) -> None:
    """A worker hears of it when the others do, maybe ahead of its own turn to use that config."""
    loop = asyncio.get_running_loop()
    gateway = assemble(named(tmp_path, "a", "b"), Registry(), loop)
    gateway.mark([("u", "10.0.0.2:80", False, False), ("next", "10.0.0.2:80", True, True)])
    gateway.mark([("next", "10.0.0.4:80", False, False), ("next", "10.0.0.4:80", True, False)])
    generation = gateway.next()
    generation.build(named(tmp_path, "u", "next"))
    await generation.start()
    release(gateway.use(generation))
    usable = {name: [target.key for target in each.usable] for name, each in gateway.upstreams.items()}
    everyone = [f"10.0.0.{number}:80" for number in range(2, 5)]
    assert usable == {"u": everyone[1:], "next": everyone[1:]}
    gateway.close()


def named(directory: Path, *names: str) -> GatewaySettings:
    """Upstreams of these names, of three targets each."""
    targets = ", ".join(f"'http://10.0.0.{number}:80'" for number in range(2, 5))
    rows = "".join(f"  {name}: {{targets: [{targets}]}}\n" for name in names)
    file = directory / "gateway.yaml"
    file.write_text(f"upstreams:\n{rows}routes: [{{match: /*, to: {names[0]}}}]\n")
    return load(str(file)).settings
