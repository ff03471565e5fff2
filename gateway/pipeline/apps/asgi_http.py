"""One HTTP exchange with an ASGI application: its `receive` and its `send`."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from gateway.core.message import Headers
from gateway.pipeline.apps.fairness import Fairness
from gateway.pipeline.apps.patience import Patience
from gateway.pipeline.apps.turns import ClientLeft, declared_length
from gateway.pipeline.lane import Lane

Message = dict[str, Any]
AGAIN_S: Final = 0.01
"""An application that does not take the end for one, and asks again and again, must not have the loop alone."""


class AsgiHttp:
    """The exchange. `over` is done when the answer is out, and cancelled when the client left before."""

    def __init__(self, lane: Lane, over: asyncio.Future[None], patience: Patience) -> None:
        self._lane = lane
        self._began = lane.plan.now()
        self._over = over
        self._patience = patience
        self._fairness = Fairness()
        self._body_read = False
        self._status = 0
        self._headers = Headers()
        self._declared = -1
        self._sent = 0
        self._started = False
        self._complete = self._heard = False

    @property
    def is_unheard(self) -> bool:
        """Whether it still makes an answer of which nobody told it that nobody wants it."""
        return self._started and not self._heard

    @property
    def missing(self) -> str:
        """For the message about an application that ended too soon; empty where it did not."""
        if self._complete:
            return ""
        return "before the end of its answer" if self._status else "without an answer"

    def ended(self, failure: str) -> None:
        """The application returned: nothing is to be done that its answer did not say."""

    async def receive(self) -> Message:
        """http.request with the body as it comes, then http.disconnect when the client leaves or has its answer."""
        if not self._body_read and not self._over.done():
            data, self._body_read = await self._lane.receive()
            if self._lane.is_live:
                return {"type": "http.request", "body": data, "more_body": not self._body_read}
        if not self._over.done():
            await asyncio.wait([self._over])
        await self._hear()
        return {"type": "http.disconnect"}

    async def _hear(self) -> None:
        if self._heard:
            await asyncio.sleep(AGAIN_S)
        self._heard = True

    async def send(self, message: Message) -> None:
        """Raises ClientLeft when nobody is there any more, RuntimeError on a message out of order."""
        kind = message["type"]
        if self._complete:
            raise RuntimeError(f"{kind} was sent behind the end of the answer")
        if not self._lane.is_live and not self._is_bodiless:
            self._heard = True
            raise ClientLeft("the client is gone")
        if kind == "http.response.start" and not self._status:
            self._begin(message)
        elif kind == "http.response.body" and self._status:
            await self._send_body(message)
        else:
            due = "http.response.body" if self._status else "http.response.start"
            raise RuntimeError(f"{kind} was sent where {due} is due")

    @property
    def _is_bodiless(self) -> bool:
        return self._status in (204, 304) or (bool(self._status) and self._lane.call.method == "HEAD")

    def _begin(self, message: Message) -> None:
        status = message["status"]
        if not (isinstance(status, int) and 200 <= status <= 599):
            raise ValueError(f"an answer's status is 200 to 599, not {status!r}")
        self._headers = headers_of(message.get("headers", ()))
        self._declared = declared_length(self._headers)
        self._status = int(status)

    async def _send_body(self, message: Message) -> None:
        lane = self._lane
        body, more = bytes_of(message.get("body", b"")), bool(message.get("more_body", False))
        self._count(len(body), more)
        self._complete = not more
        if not more:
            lane.spent(lane.plan.now() - self._began)
        if not self._started and not more:
            lane.send_whole(self._status, self._headers, body)
        else:
            self._start()
            self._patience.pause()
            await lane.send(body)
            await self._fairness.sent(len(body))
            self._patience.renew()
            if not more:
                lane.finish()
        if (not more or self._is_bodiless) and not self._over.done():
            self._over.set_result(None)

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._lane.start(self._status, self._headers, self._declared)

    def _count(self, size: int, more: bool) -> None:
        self._sent += size
        if self._declared < 0 or self._is_bodiless:
            return
        if self._sent > self._declared or (not more and self._sent < self._declared):
            raise ValueError(f"{self._sent} bytes were sent, and Content-Length says {self._declared}")


def bytes_of(data: Any) -> bytes:
    """Raises TypeError on anything but bytes."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"what is sent is made of bytes, not of {type(data).__name__}")


def headers_of(fields: Iterable[Iterable[bytes]]) -> Headers:
    """Fields as ASGI has them. Raises ValueError on what cannot be sent."""
    return Headers([(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in fields])
