"""One WebSocket with an ASGI application: its `receive` and its `send`.

Up to the accept it is an HTTP exchange of the lane; from there on it is the connection's sink.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.core.message import Headers
from gateway.pipeline.apps.asgi_http import AGAIN_S, AsgiHttp, Message, bytes_of, headers_of
from gateway.pipeline.apps.fairness import Fairness
from gateway.pipeline.apps.handshake import accepting
from gateway.pipeline.apps.patience import Patience
from gateway.pipeline.apps.turns import ClientLeft
from gateway.pipeline.lane import Lane
from gateway.transport.sink import Sink
from gateway.wire.websocket import ABNORMAL, AWAY, FAILED, NORMAL, WebSocket

WAITING_BYTES: Final = 64 * 1024
WAITING_MESSAGES: Final = 256
"""Of what the application has not received; beyond either, reading pauses."""
PING_S: Final = 20.0
"""After so long without a byte the client is asked whether it is still there; after as long again it is given up."""
CLOSE_S: Final = 5.0
"""For a client to answer a closing handshake."""


class AsgiWebSocket(Sink):
    """The exchange. `over` is done when the connection is, and cancelled when the client left before the accept."""

    def __init__(self, lane: Lane, websocket: WebSocket, over: asyncio.Future[None], patience: Patience) -> None:
        self._lane = lane
        self._connection = lane.connection
        self._websocket = websocket
        self._over = over
        self._patience = patience
        self._refusal = AsgiHttp(lane, over, patience)
        """Where the application answers the request with HTTP instead."""
        self._fairness = Fairness()
        self._began = lane.plan.now()
        self._accepted = False
        self._told_close = False
        """The application has closed it, or refused it."""
        self._is_told = False
        """The application has heard of the end."""
        self._inbox: deque[tuple[int, Message]] = deque([(0, {"type": "websocket.connect"})])
        """(bytes, message)"""
        self._held = self._unfinished = 0
        """Bytes of the inbox, and of a message that has more to come; counted against `limits.buffered`."""
        self._farewell: Message | None = None
        """What `receive` says from the end on."""
        self._news = asyncio.Event()
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._heard = self._asked = False
        """Since the last look: bytes came; and whether it was asked before."""
        self._timer: asyncio.TimerHandle | None = None

    # --- the application ----------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """websocket.connect, then messages as they come, then websocket.disconnect again and again."""
        while not self._inbox:
            if self._over.done() and self._farewell is None:
                self._say_farewell(ABNORMAL, "")
            if self._farewell is not None:
                if self._is_told:
                    await asyncio.sleep(AGAIN_S)
                self._is_told = True
                return self._farewell
            if self._accepted:
                self._news.clear()
                await self._news.wait()
            else:
                await asyncio.wait([self._over])
        size, message = self._inbox.popleft()
        self._hold(-size)
        if self._accepted and not self._is_full:
            self._connection.resume_reading()
        return message

    async def send(self, message: Message) -> None:
        """Raises ClientLeft when nobody is there any more, RuntimeError on a message out of order."""
        kind = message["type"]
        if self._told_close:
            raise RuntimeError(f"{kind} was sent behind the end of the WebSocket")
        if not self._accepted:
            await self._answer_handshake(kind, message)
        elif not self._websocket.is_open:
            self._is_told = True
            raise ClientLeft("the WebSocket is closed")
        elif kind == "websocket.send":
            await self._send_message(message)
        elif kind == "websocket.close":
            self._begin_close(message.get("code") or NORMAL, message.get("reason") or "")
            self._told_close = True
            self._websocket.deafen()
        else:
            raise RuntimeError(f"{kind} was sent where websocket.send or websocket.close is due")

    async def _answer_handshake(self, kind: str, message: Message) -> None:
        if kind.startswith("websocket.http.response."):
            await self._refusal.send({**message, "type": kind.removeprefix("websocket.")})
            return
        if not self._lane.is_live:
            raise ClientLeft("the client is gone")
        if kind == "websocket.accept":
            self._accept(headers_of(message.get("headers") or ()), message.get("subprotocol"))
        elif kind == "websocket.close":
            self._told_close = True
            self._lane.send_whole(403, Headers(), b"")
            self._over.set_result(None)
        else:
            raise RuntimeError(f"{kind} was sent where websocket.accept or websocket.close is due")

    def _accept(self, headers: Headers, subprotocol: str | None) -> None:
        connection, call = self._connection, self._lane.call
        head = accepting(self._lane, self._websocket, headers, subprotocol)
        self._accepted = True
        self._patience.end()
        call.stream = "websocket"
        if connection.is_slow:
            self._can_write.clear()
        connection.sink = self
        early = connection.become_tunnel(head)
        self._set_timer(PING_S, self._look)
        if early:
            self.on_request_data(early, False)

    async def _send_message(self, message: Message) -> None:
        text, data = message.get("text"), message.get("bytes")
        if text is None and data is None:
            raise ValueError("websocket.send has neither text nor bytes")
        whole = str(text) if text is not None else bytes_of(data)
        self._websocket.send(whole)
        self._flush()
        await self._can_write.wait()
        await self._fairness.sent(len(whole))

    @property
    def missing(self) -> str:
        """For the message about an application that ended too soon; empty where it did not."""
        return "" if self._accepted or self._told_close else self._refusal.missing

    @property
    def is_unheard(self) -> bool:
        """Whether nobody told the application that nobody is there."""
        return self._accepted and not (self._is_told or self._told_close)

    def ended(self, failure: str) -> None:
        """The application returned: what it left open is closed."""
        if self._accepted:
            self._begin_close(FAILED if failure else NORMAL, "")

    def close_away(self) -> None:
        """Tell the client that this server goes away; the application hears of it when the client has answered."""
        if self._accepted:
            self._begin_close(AWAY, "")

    # --- the client ---------------------------------------------------------------------------------------------

    def on_request_data(self, data: bytes, end: bool) -> None:
        self._heard, self._asked = True, False
        for message in self._websocket.feed(data):
            kind = "text" if isinstance(message, str) else "bytes"
            self._hold(len(message))
            self._inbox.append((len(message), {"type": "websocket.receive", kind: message}))
            self._news.set()
        self._count_unfinished()
        self._flush()
        if self._is_full and self._websocket.is_open:
            self._connection.pause_reading()

    def on_client_gone(self) -> None:
        self._lane.spent(self._lane.plan.now() - self._began)
        self._websocket.eof()
        self._end()

    def on_client_slow(self) -> None:
        self._can_write.clear()

    def on_client_ready(self) -> None:
        self._can_write.set()

    # --- the connection -----------------------------------------------------------------------------------------

    @property
    def _is_full(self) -> bool:
        return self._held > WAITING_BYTES or len(self._inbox) > WAITING_MESSAGES

    def _hold(self, size: int) -> None:
        self._held += size
        self._connection.listener.buffered.add(size)

    def _count_unfinished(self) -> None:
        size = self._websocket.unfinished
        self._connection.listener.buffered.add(size - self._unfinished)
        self._unfinished = size

    def _flush(self) -> None:
        """Write what the protocol has to say; close where it says so."""
        data, ends = self._websocket.to_send()
        if data:
            self._lane.call.bytes_out += len(data)
            self._connection.write_tunnel(data)
        if ends:
            self._finish()

    def _begin_close(self, code: int, reason: str) -> None:
        """Start the closing handshake, where nobody has; the client has CLOSE_S for its part. Raises ValueError."""
        if self._websocket.is_open:
            self._websocket.close(code, reason)
            self._flush()
            self._connection.resume_reading()
            self._set_timer(CLOSE_S, self._finish)

    def _look(self) -> None:
        """Every PING_S: is the client still there? One that is not read from cannot say."""
        if self._heard or self._is_full:
            self._heard = False
        elif self._asked:
            self._websocket.fail(FAILED, "no answer to a ping")
            self._flush()
            return
        else:
            self._asked = True
            self._websocket.ping()
            self._flush()
        self._set_timer(PING_S, self._look)

    def _set_timer(self, seconds: float, action: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, action)

    def _finish(self) -> None:
        """Both sides have closed, or one does not wait for the other."""
        self._lane.spent(self._lane.plan.now() - self._began)
        self._connection.close_tunnel(linger=True)
        self._end()

    def _end(self) -> None:
        """The connection is over: what came still waits for the application, then it hears of the end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._say_farewell(*self._websocket.ended_by)
        self._connection.listener.buffered.add(-self._held - self._unfinished)
        self._held = self._unfinished = 0
        self._inbox = deque((0, message) for _, message in self._inbox)
        self._can_write.set()
        if not self._over.done():
            self._over.set_result(None)

    def _say_farewell(self, code: int, reason: str) -> None:
        if self._farewell is None:
            self._farewell = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self._news.set()

    def __repr__(self) -> str:
        return f"<AsgiWebSocket {self._lane.call.request_id} {self._websocket}>"
