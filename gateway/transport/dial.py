"""Opening a connection to a target: resolve, race the addresses (happy eyeballs, RFC 8305), TLS."""

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import TypeVar

import aiohappyeyeballs

from gateway.core.errors import GatewayError
from gateway.transport.resolver import Resolver, is_address
from gateway.transport.settings import UpstreamTlsSettings

EYEBALLS_DELAY_S = 0.25
"""Head start of one address over the next (RFC 8305 section 8, recommended)."""

P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where and how to connect. `server_name` is for TLS; `path` is a unix socket's.

    Equal where a connection would be made in the same way: of TLS, the settings that `tls` is made of are compared.
    """

    host: str
    port: int
    timeout_s: float
    path: str = ""
    tls: ssl.SSLContext | None = field(default=None, compare=False)
    tls_settings: UpstreamTlsSettings | None = None
    server_name: str = ""

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{self.host}:{self.port}"


class Dialer:
    """Opens connections on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, resolver: Resolver) -> None:
        self._loop = loop
        self._resolver = resolver

    async def dial(self, to: Destination, protocol: P) -> None:
        """Connect `protocol`. Raises GatewayError connect_refused, connect_timeout, dns_failed or tls_failed."""
        try:
            async with asyncio.timeout(to.timeout_s):
                await self._connect(to, protocol)
        except TimeoutError:
            raise GatewayError("connect_timeout", f"no connection to {to} within {to.timeout_s:g}s") from None
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or str(error)
            raise GatewayError("tls_failed", f"TLS with {to}: {reason}") from None
        except ConnectionResetError as error:
            kind = "tls_failed" if to.tls else "connect_refused"
            raise GatewayError(kind, f"{to} closed the connection at once") from error
        except OSError as error:
            raise GatewayError("connect_refused", f"{to}: {error.strerror or error}") from None
        except ValueError as error:  # a server name that TLS cannot ask for
            raise GatewayError("tls_failed" if to.tls else "connect_refused", f"{to}: {error}") from None

    async def _connect(self, to: Destination, protocol: P) -> None:
        loop = self._loop
        tls = {"ssl": to.tls, "server_hostname": to.server_name} if to.tls else {}
        if to.path:
            await loop.create_unix_connection(lambda: protocol, to.path, **tls)  # type: ignore[arg-type]
        elif is_address(to.host):
            await loop.create_connection(lambda: protocol, to.host, to.port, **tls)  # type: ignore[call-overload]
        else:
            addresses = await self._resolver.resolve(to.host, to.port)
            sock = await aiohappyeyeballs.start_connection(
                addresses,
                happy_eyeballs_delay=EYEBALLS_DELAY_S,
                interleave=1,
                loop=loop,
            )
            await loop.create_connection(lambda: protocol, sock=sock, **tls)  # type: ignore[call-overload]
