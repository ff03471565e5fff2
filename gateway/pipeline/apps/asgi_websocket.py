"""One WebSocket with an ASGI application; `websockets` reads and writes the frames (its part without I/O).

Up to the accept it is an HTTP exchange of the lane; from there on it is the connection's sink. Not offered:
permessage-deflate, with which a small frame can become a large message.
"""

import asyncio
from collections import deque
from typing import Any, Final

from websockets.exceptions import ProtocolError
from websockets.frames import Frame
from websockets.protocol import State

from gateway.core.message import Headers
from gateway.pipeline.apps.asgi_http import AsgiHttp, Message, bytes_of, headers_of
from gateway.pipeline.apps.handshake import Handshake
from gateway.pipeline.apps.patience import Patience
from gateway.pipeline.apps.turns import ClientLeft
from gateway.pipeline.lane import Lane
from gateway.transport.sink import Sink

WAITING_BYTES: Final = 64 * 1024
WAITING_MESSAGES: Final = 256
"""Of what the application has not received; beyond either, reading pauses."""
PING_S: Final = 20.0
"""After so long without a byte the client is asked whether it is still there; after as long again it is given up."""
CLOSE_S: Final = 5.0
"""For a client to answer a closing handshake."""

NORMAL, AWAY, NO_CODE, ABNORMAL, NOT_UTF8, FAILED = 1000, 1001, 1005, 1006, 1007, 1011
"""Codes of RFC 6455 section 7.4.1."""


class AsgiWebSocket(Sink):
    """The exchange. `over` is done when the connection is, and cancelled when the client left before the accept."""

    def __init__(self, lane: Lane, handshake: Handshake, over: asyncio.Future[None], patience: Patience) -> None:
        self._lane = lane
        self._connection = lane.connection
        self._handshake = handshake
        self._frames = handshake.protocol
        self._over = over
        self._patience = patience
        self._refusal = AsgiHttp(lane, over, patience)
        """Where the application answers the request with HTTP instead."""
        self._accepted = False
        self._began = lane.plan.now()
        self._told_close = False
        self._is_deaf = False
        """What the client says is of no use any more."""
        self._inbox: deque[tuple[int, Message]] = deque([(0, {"type": "websocket.connect"})])
        """(bytes, message)"""
        self._held = 0
        self._farewell: Message | None = None
        """What `receive` says from the end on."""
        self._news = asyncio.Event()
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._begun = bytearray()
        """The fragments so far of a message that has more to come."""
        self._unfinished = 0
        self._is_text = False
        self._heard = False
        self._asked = False
        self._timer: asyncio.TimerHandle | None = None

    # --- the application ----------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """websocket.connect, then messages as they come, then websocket.disconnect again and again."""
        while not self._inbox:
            if self._over.done():
                self._say_farewell(ABNORMAL, "")
            if self._farewell is not None:
                return self._farewell
            self._news.clear()
            if self._accepted:
                await self._news.wait()
            else:
                await asyncio.wait([self._over])
        size, message = self._inbox.popleft()
        self._hold(-size)
        if not self._is_full:
            self._connection.resume_reading()
        return message

    async def send(self, message: Message) -> None:
        """Raises ClientLeft when nobody is there any more, RuntimeError on a message out of order."""
        kind = message["type"]
        if self._told_close:
            raise RuntimeError(f"{kind} was sent behind the end of the WebSocket")
        if not self._accepted:
            await self._answer_handshake(kind, message)
        elif self._farewell is not None or self._frames.close_sent is not None:
            raise ClientLeft("the WebSocket is closed")
        elif kind == "websocket.send":
            await self._send_message(message)
        elif kind == "websocket.close":
            self._told_close = self._is_deaf = True
            self._begin_close(message.get("code") or NORMAL, message.get("reason") or "")
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
        chosen = Headers([("Sec-WebSocket-Protocol", subprotocol)]) if subprotocol is not None else None
        self._accepted = True
        self._patience.end()
        connection, call = self._connection, self._lane.call
        call.stream = "websocket"
        if connection.is_slow:
            self._can_write.clear()
        connection.sink = self
        chosen_name = None if chosen is None else chosen["sec-websocket-protocol"]
        early = connection.become_tunnel(self._handshake.head(headers, chosen_name, call.request_id))
        self._timer = asyncio.get_running_loop().call_later(PING_S, self._look)
        if early:
            self.on_request_data(early, False)

    async def _send_message(self, message: Message) -> None:
        text, data = message.get("text"), message.get("bytes")
        if text is not None:
            self._frames.send_text(text.encode())
        elif data is not None:
            self._frames.send_binary(bytes_of(data))
        else:
            raise ValueError("websocket.send has neither text nor bytes")
        self._flush()
        await self._can_write.wait()

    @property
    def missing(self) -> str:
        """For the message about an application that ended too soon; empty where it did not."""
        if self._accepted or self._told_close:
            return ""
        return self._refusal.missing

    def ended(self, failure: str) -> None:
        """The application returned: what it left open is closed."""
        if self._accepted and self._farewell is None:
            self._begin_close(FAILED if failure else NORMAL, "")

    def close_away(self) -> None:
        """Tell the client that this server goes away; the application hears of it when the client has answered."""
        if self._accepted and self._farewell is None:
            self._begin_close(AWAY, "")

    # --- the client ---------------------------------------------------------------------------------------------

    def on_request_data(self, data: bytes, end: bool) -> None:
        self._heard = True
        self._asked = False
        self._frames.receive_data(data)
        for event in self._frames.events_received():
            if isinstance(event, Frame):
                self._on_frame(event)
        self._count_unfinished()
        self._flush()
        if self._is_full:
            self._connection.pause_reading()

    def _on_frame(self, frame: Frame) -> None:
        kind = int(frame.opcode)
        if kind > 2 or self._is_deaf:
            return
        if kind:
            self._is_text = kind == 1
        self._begun += frame.data
        if not frame.fin:
            return
        data = bytes(self._begun)
        self._begun.clear()
        message: Message = {"type": "websocket.receive"}
        if not self._is_text:
            message["bytes"] = data
        else:
            try:
                message["text"] = data.decode()
            except UnicodeDecodeError:
                self._is_deaf = True
                if self._frames.close_sent is None:
                    self._frames.fail(NOT_UTF8, "a text message is not UTF-8")
                return
        self._hold(len(data))
        self._inbox.append((len(data), message))
        self._news.set()

    def on_client_gone(self) -> None:
        self._lane.spent(self._lane.plan.now() - self._began)
        self._frames.receive_eof()
        self._end()

    def on_client_slow(self) -> None:
        self._can_write.clear()

    def on_client_ready(self) -> None:
        self._can_write.set()

    # --- the connection -----------------------------------------------------------------------------------------

    @property
    def _is_full(self) -> bool:
        return self._held > WAITING_BYTES or len(self._inbox) > WAITING_MESSAGES

    def _count_unfinished(self) -> None:
        """What is here of a message that has more to come is held, too."""
        size = len(self._frames.reader.buffer) + len(self._begun)
        self._connection.listener.buffered.add(size - self._unfinished)
        self._unfinished = size

    def _hold(self, size: int) -> None:
        self._held += size
        self._connection.listener.buffered.add(size)

    def _flush(self) -> None:
        """Write what the protocol has to say; close where it says so."""
        data = self._frames.data_to_send()
        written = b"".join(data)
        if written:
            self._lane.call.bytes_out += len(written)
            self._connection.write_tunnel(written)
        if b"" in data:
            self._finish()

    def _begin_close(self, code: int, reason: str) -> None:
        """Start the closing handshake; the client has CLOSE_S for its part. Raises ValueError on a bad code."""
        if self._frames.state is not State.OPEN:
            return
        try:
            self._frames.send_close(code, reason)
        except ProtocolError as error:
            raise ValueError(f"{code} cannot close a WebSocket: {error}") from None
        self._flush()
        self._connection.resume_reading()
        self._set_timer(CLOSE_S, self._give_up)

    def _look(self) -> None:
        """Every PING_S: is the client still there?"""
        if not (self._heard or self._is_full):
            if self._asked:
                self._frames.fail(FAILED, "no answer to a ping")
                self._flush()
                return
            self._asked = True
            self._frames.send_ping(b"")
            self._flush()
        self._heard = False
        self._set_timer(PING_S, self._look)

    def _set_timer(self, seconds: float, action: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, action)

    def _give_up(self) -> None:
        """The client did not answer the closing handshake."""
        self._finish()

    def _finish(self) -> None:
        self._lane.spent(self._lane.plan.now() - self._began)
        self._connection.close_tunnel(linger=True)
        self._end()

    def _end(self) -> None:
        """The connection is over: what came still waits for the application, then it hears of the end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        received = self._frames.close_rcvd
        sent = self._frames.close_sent
        if received is not None:
            self._say_farewell(received.code, received.reason)
        elif sent is not None:
            self._say_farewell(sent.code, sent.reason)
        else:
            self._say_farewell(ABNORMAL, "")
        self._hold(-self._held)
        self._begun.clear()
        self._connection.listener.buffered.add(-self._unfinished)
        self._unfinished = 0
        self._inbox = deque((0, message) for _, message in self._inbox)
        self._can_write.set()
        if not self._over.done():
            self._over.set_result(None)

    def _say_farewell(self, code: int, reason: str) -> None:
        if self._farewell is None:
            self._farewell = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self._news.set()

    def __repr__(self) -> str:
        return f"<AsgiWebSocket {self._lane.call.request_id} {self._frames.state.name.lower()}>"
