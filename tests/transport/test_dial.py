"""Dialling: the addresses of a name race, and each way to fail has its reason."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.core.errors import GatewayError
from gateway.transport.dial import Destination, Dialer
from gateway.transport.resolver import Resolver


class _Hosts:
    """A loop that resolves names as the test says, and otherwise is the running one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.addresses: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self.addresses]


@pytest.fixture
async def hosts() -> _Hosts:
    return _Hosts()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def _dial(hosts: _Hosts, host: str, port: int, timeout_s: float = 5.0, **more: Any) -> asyncio.Protocol:
    loop: Any = hosts
    protocol = asyncio.Protocol()
    resolver = Resolver(loop, time.monotonic)
    await Dialer(asyncio.get_running_loop(), resolver).dial(Destination(host, port, timeout_s, **more), protocol)
    return protocol


async def _reason(hosts: _Hosts, host: str, port: int, timeout_s: float = 5.0, **more: Any) -> str:
    with pytest.raises(GatewayError) as caught:
        await _dial(hosts, host, port, timeout_s, **more)
    return caught.value.reason.name


async def test_an_address(hosts: _Hosts, port: int) -> None:
    await _dial(hosts, "127.0.0.1", port)


async def test_a_refusing_address_of_a_name_is_passed_over(hosts: _Hosts, port: int) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        hosts.addresses = [nobody.getsockname(), ("127.0.0.1", port)]
        await _dial(hosts, "a.test", port)


async def test_a_hanging_address_of_a_name_costs_a_quarter_second(hosts: _Hosts, port: int) -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        hosts.addresses = [full.getsockname(), ("127.0.0.1", port)]
        begun = time.monotonic()
        await _dial(hosts, "a.test", port)
        assert 0.2 < time.monotonic() - begun < 1.5
        assert await _reason(hosts, "127.0.0.1", full.getsockname()[1], 0.1) == "connect_timeout"


async def test_every_address_refuses(hosts: _Hosts) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        hosts.addresses = [nobody.getsockname()] * 2
        assert await _reason(hosts, "a.test", nobody.getsockname()[1]) == "connect_refused"
        assert await _reason(hosts, "127.0.0.1", nobody.getsockname()[1]) == "connect_refused"


async def test_a_missing_unix_socket(hosts: _Hosts, tmp_path: Any) -> None:
    assert await _reason(hosts, "localhost", 0, path=str(tmp_path / "none.sock")) == "connect_refused"


async def test_a_name_with_no_meaning() -> None:
    loop = asyncio.get_running_loop()
    dialer = Dialer(loop, Resolver(loop, time.monotonic))
    with pytest.raises(GatewayError, match="dns_failed"):
        await dialer.dial(Destination("x" * 70 + ".test", 80, 5.0), asyncio.Protocol())
