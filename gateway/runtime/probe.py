"""One active check: GET on a new connection, judged by the status."""

import asyncio

from gateway import __version__
from gateway.core.errors import GatewayError
from gateway.transport.dial import Destination, Dialer
from gateway.wire.head import ResponseHead
from gateway.wire.limits import HeadLimits

_LIMITS = HeadLimits()
_HEAD_BYTES = 64 * 1024


async def probe(dialer: Dialer, to: Destination, authority: str, path: str) -> tuple[bool, str]:
    """Whether it passed, and what was found. All of it takes at most `to.timeout_s`.

    A status of 200 to 399 passes, as HAProxy's and nginx's checks have it.
    """
    answer = _Answer(
        f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: floodgate-health/{__version__}\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n".encode("ascii")
    )
    try:
        async with asyncio.timeout(to.timeout_s):
            await dialer.dial(to, answer)
            status = await answer.status
    except TimeoutError:
        return False, f"no answer within {to.timeout_s:g}s"
    except GatewayError as error:
        return False, f"{error.reason.name}: {error.detail}"
    finally:
        answer.close()
    return 200 <= status < 400, f"status {status}"


class _Answer(asyncio.Protocol):
    """Sends the request and waits for the status of the answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._data = b""
        self._transport: asyncio.BaseTransport | None = None
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while not self.status.done():
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                if len(self._data) > _HEAD_BYTES:
                    self._fail("upstream_protocol", "the head of the answer does not end")
                return
            self._data = rest
            self._judge(head.decode("latin-1") + "\r\n\r\n")
        self._data = b""  # nobody wants the body

    def _judge(self, head: str) -> None:
        try:
            status = ResponseHead(head, _LIMITS).status
        except GatewayError as error:
            self._fail(error.reason.name, error.detail)
            return
        if status >= 200:  # others announce the answer proper
            self.status.set_result(status)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail("upstream_reset", "closed before an answer")

    def _fail(self, reason: str, detail: str) -> None:
        if not self.status.done():
            self.status.set_exception(GatewayError(reason, detail))

    def close(self) -> None:
        """End the connection, whatever its state."""
        if not self.status.done():
            self.status.cancel()
        elif not self.status.cancelled():
            self.status.exception()  # taken note of, also where the time was up first
        if self._transport is not None:
            self._transport.close()
