"""Names are remembered, asked again when stale, and a dead DNS server keeps the last answer."""

import asyncio
import socket
from typing import Any

import pytest

from gateway.core.errors import GatewayError
from gateway.transport.resolver import FRESH_S, Resolver, is_address


def _info(host: str, port: int = 80) -> tuple[Any, ...]:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))


class _Names:
    """The part of a loop that asks for names; the test plays DNS."""

    def __init__(self) -> None:
        self.answer: list[Any] | OSError = [_info("10.0.0.1")]
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.now = 100.0
        self.create_task = asyncio.get_running_loop().create_task

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        await self.gate.wait()
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


@pytest.fixture
async def names() -> _Names:
    return _Names()


@pytest.fixture
async def resolver(names: _Names) -> Resolver:
    loop: Any = names
    return Resolver(loop, lambda: names.now)


DEAD = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_answer_is_used_while_it_is_fresh(names: _Names, resolver: Resolver) -> None:
    for _ in range(3):
        assert await resolver.resolve("a.test", 80) == [_info("10.0.0.1")]
    assert names.asked == 1
    await resolver.resolve("a.test", 81)
    await resolver.resolve("b.test", 80)
    assert names.asked == 3


async def test_a_stale_answer_is_used_while_it_is_asked_anew(names: _Names, resolver: Resolver) -> None:
    await resolver.resolve("a.test", 80)
    names.now += FRESH_S + 1
    names.answer = [_info("10.0.0.2")]
    assert await resolver.resolve("a.test", 80) == [_info("10.0.0.1")], "nobody waits"
    await _settle()
    assert await resolver.resolve("a.test", 80) == [_info("10.0.0.2")]


async def test_a_dead_server_keeps_the_last_answer(names: _Names, resolver: Resolver) -> None:
    await resolver.resolve("a.test", 80)
    names.answer = DEAD
    for _ in range(5):
        names.now += FRESH_S + 1
        assert await resolver.resolve("a.test", 80) == [_info("10.0.0.1")]
        await _settle()
    with pytest.raises(GatewayError, match="dns_failed"):
        await resolver.resolve("a.test", 80, fresh=True)
    assert await resolver.resolve("a.test", 80) == [_info("10.0.0.1")]


async def test_a_name_that_never_resolved(names: _Names, resolver: Resolver) -> None:
    names.answer = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with pytest.raises(GatewayError, match=r"a\.test does not resolve"):
        await resolver.resolve("a.test", 80)
    names.answer = [_info("10.0.0.1")]
    assert await resolver.resolve("a.test", 80) == [_info("10.0.0.1")], "failures are not remembered"


async def test_all_who_ask_at_once_share_one_question(names: _Names, resolver: Resolver) -> None:
    names.gate.clear()
    asking = [asyncio.ensure_future(resolver.resolve("a.test", 80)) for _ in range(10)]
    await _settle()
    asking[0].cancel()
    names.gate.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [[_info("10.0.0.1")]] * 9, "that one gave up harms no other"
    assert names.asked == 1


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", True), ("::1", True), ("localhost", False), ("1.2.3", False), ("", False)]
)
def test_addresses_need_no_resolving(host: str, address: bool) -> None:
    assert is_address(host) is address
