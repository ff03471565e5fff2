"""Names to addresses, remembered: re-resolved when stale, and a dead DNS server keeps the last answer."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from gateway.core.errors import GatewayError

FRESH_S = 5.0
"""An answer is used this long without asking again; getaddrinfo does not tell the record's TTL."""
AGAIN_S = 1.0
"""After a failure it is asked again so soon: an outage of DNS is to last no longer here than there."""
TIMEOUT_S = 5.0
"""One look-up may take this long (resolv.conf's default timeout)."""

AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]


def is_address(host: str) -> bool:
    """True for an IP address: nothing to resolve."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Resolver:
    """Resolves through the loop's getaddrinfo (libuv's threads, not the executor of user code)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._clock = clock
        self._answers: dict[tuple[str, int], tuple[float, list[AddressInfo]]] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[list[AddressInfo]]] = {}

    async def resolve(self, host: str, port: int, *, fresh: bool = False) -> list[AddressInfo]:
        """Addresses of `host`, fresh or the last known. Raises GatewayError dns_failed where there never was one.

        fresh: ask now, and raise where that fails even if an old answer is known.
        """
        key = (host, port)
        known = None if fresh else self._answers.get(key)
        if known is not None and self._clock() - known[0] < FRESH_S:
            return known[1]
        task = self._asking.get(key)
        if task is None:
            task = self._loop.create_task(self._ask(host, port))
            self._asking[key] = task
            task.add_done_callback(lambda done: (self._asking.pop(key, None), done.cancelled() or done.exception()))
        if known is not None:
            return known[1]
        return await asyncio.shield(task)

    def known(self, host: str, port: int) -> list[AddressInfo]:
        """The last answer, however old; empty where there never was one."""
        found = self._answers.get((host, port))
        return [] if found is None else found[1]

    async def _ask(self, host: str, port: int) -> list[AddressInfo]:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise GatewayError("dns_failed", f"the name {host} does not resolve") from error
        self._answers[host, port] = (self._clock(), found)  # type: ignore[assignment]
        return found  # type: ignore[return-value]
