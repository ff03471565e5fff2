"""Answers of the users' Python on their way to the client: whole, or piece by piece as they are made."""

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator
from math import inf
from typing import Any, Final

from gateway.core.errors import GatewayError
from gateway.core.message import Response
from gateway.executors.executor import Executor
from gateway.observe.logs import OF_USERS
from gateway.pipeline.invoke import shielded
from gateway.pipeline.lane import Lane

_log = logging.getLogger(__name__)
CLOSE_S: Final = 5.0
"""How long an iterator may take to close behind itself."""
TURN_PIECES: Final = 64
TURN_BYTES: Final = 64 * 1024
"""Sent in one turn of the loop at the most, where the iterator never waits; others have their turn then."""


async def send(lane: Lane, response: Response, executor: Executor, label: str) -> None:
    """Send the answer. Pieces of a plain iterator are made on `executor`; `label` is whose they are, for the log.

    Raises GatewayError handler_error.
    """
    body = response.body
    if isinstance(body, bytes):
        lane.send_whole(response.status, response.headers, body)
    elif isinstance(body, str):
        lane.send_whole(response.status, response.headers, body.encode())
    elif body is None:
        lane.send_whole(response.status, response.headers, b"")
    elif isinstance(body, AsyncIterable):
        await _Stream(lane, response, label).run(body.__aiter__())
    elif executor.kind == "processes":
        _log.error(
            "request %s: %s returned a plain iterator, which needs an executor of threads", lane.call.request_id, label
        )
        raise GatewayError("handler_error", "the handler failed; the gateway's log says more")
    else:
        await _Stream(lane, response, label).run(executor.stream(iter(body)))


class _Stream:
    """One answer in pieces. The head goes out with the first of them, that of an event stream at once.

    What goes wrong before the head is an error of the handler; behind it the connection is cut.
    """

    __slots__ = ("_begun", "_label", "_lane", "_left", "_response")

    def __init__(self, lane: Lane, response: Response, label: str) -> None:
        self._lane = lane
        self._response = response
        self._label = label
        self._begun = False
        self._left = -1
        """What is missing of a Content-Length that the response states; below 0 where it states none."""

    async def run(self, pieces: AsyncIterator[Any]) -> None:
        """Send all pieces; raises GatewayError handler_error when that fails."""
        lane = self._lane
        began = lane.plan.now()
        try:
            if lane.call.method == "HEAD" or (self._response.headers.get("content-type") or "").startswith(
                "text/event-stream"
            ):
                self._begin()
            if lane.is_live:
                await self._send_all(pieces)
        except (asyncio.CancelledError, GatewayError):
            raise
        except Exception:
            _log.exception(
                "request %s: %s failed while its answer was sent",
                lane.call.request_id,
                self._label,
                extra={OF_USERS: True},
            )
            raise GatewayError("handler_error", "the handler failed while its answer was sent") from None
        finally:
            lane.spent(lane.plan.now() - began)
            await self._close(pieces)

    async def _send_all(self, pieces: AsyncIterator[Any]) -> None:
        """Each piece has the route's timeout, the first one what is left of it."""
        lane, loop = self._lane, self._lane.plan.fetcher.loop
        left_s, count, size = lane.deadline - lane.plan.now(), 0, 0
        try:
            async with asyncio.timeout(None) as limit:
                while True:
                    if left_s != inf:
                        limit.reschedule(loop.time() + left_s)
                    try:
                        piece = await shielded(pieces.__anext__())
                    except StopAsyncIteration:
                        break
                    limit.reschedule(None)
                    await self._send(piece)
                    count, size = count + 1, size + len(piece)
                    if count >= TURN_PIECES or size >= TURN_BYTES:
                        count = size = 0
                        await asyncio.sleep(0)
                    left_s = lane.plan.timeout_s
        except TimeoutError:
            if not limit.expired():
                raise
            raise self._late(lane.plan.timeout_s) from None
        self._end()

    async def _send(self, piece: Any) -> None:
        if not isinstance(piece, bytes):
            raise TypeError(f"the pieces of a body are bytes, not {type(piece).__name__}")
        if not piece:
            return
        if not self._begun:
            self._begin()
        if self._left >= 0:
            self._left -= len(piece)
            if self._left < 0:
                raise ValueError("the body is longer than its content-length")
        await self._lane.send(piece)

    def _begin(self) -> None:
        """Send the head."""
        self._begun = True
        headers = self._response.headers
        stated = headers.get("content-length") or ""
        if stated.isascii() and stated.isdecimal():
            self._left = int(stated)
        self._lane.start(self._response.status, headers, self._left)

    def _end(self) -> None:
        if not self._begun:
            self._lane.send_whole(self._response.status, self._response.headers, b"")
            return
        if self._left > 0:
            raise ValueError(f"the body is {self._left} bytes shorter than its content-length")
        self._lane.finish()

    def _late(self, timeout_s: float) -> GatewayError:
        _log.warning("request %s: %s had no more within %gs", self._lane.call.request_id, self._label, timeout_s)
        return GatewayError("handler_error", f"the handler had no more within {timeout_s:g}s", status=504)

    async def _close(self, pieces: AsyncIterator[Any]) -> None:
        """Let the iterator end what it holds, also where nobody takes the rest."""
        close = getattr(pieces, "aclose", None)
        if close is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await close()
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("request %s: %s failed while it was closed", self._lane.call.request_id, self._label)
