"""Requests that the gateway makes itself, to the same upstreams and in the same attempts as those of clients.

Fetch collects an answer whole and tells its subclass: no task, no future, since an aggregate makes many at once.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from gateway.core.errors import GatewayError
from gateway.core.exchange import UpstreamFacts
from gateway.pipeline.attempt import Attempt
from gateway.pipeline.delivery import Delivery
from gateway.transport.client import UpstreamConnection
from gateway.upstreams.upstream import Upstream
from gateway.wire.fields import Fields
from gateway.wire.head import ResponseHead

MAX_BYTES: Final = 10 * 1024 * 1024
"""Of an answer that is collected whole; the same as the default of `limits.body`."""

Answered = tuple[ResponseHead, bytes]


class Fetch(Delivery):
    """One request of the gateway's own. Ends with one call of `on_fetched` or of `give_up`."""

    __slots__ = ("_body", "_head", "_lines", "_max_bytes", "_parts", "_size", "_target")

    def __init__(
        self,
        upstream: Upstream,
        facts: UpstreamFacts,
        *,
        method: str,
        target: str,
        lines: str,
        body: bytes,
        timeout_s: float,
        max_bytes: int,
        now: Callable[[], float],
    ) -> None:
        """target: path and query; lines: complete field lines without Host; max_bytes: of the answer's body."""
        super().__init__(upstream, facts, method, timeout_s, now)
        self._target = target
        self._lines = lines
        self._body = body
        self._max_bytes = max_bytes
        self._head: ResponseHead | None = None
        self._parts: list[bytes] = []
        self._size = 0

    @abstractmethod
    def on_fetched(self, head: ResponseHead, body: bytes, now: float) -> None: ...

    def begin(self, now: float) -> None:
        self.engage(now)

    def send_request(self, attempt: Attempt, connection: UpstreamConnection, now: float) -> None:
        host = attempt.target.authority
        lines = f"Host: {host}\r\n{self._lines}{self.deadline_line(now)}"
        head = f"{self.method} {self._target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
        connection.send(attempt, self.method, head + self._body, True, self.head_timeout_s(now), now)

    def on_head(self, head: ResponseHead, data: bytes, end: bool, now: float) -> None:
        exchange = self.exchange
        exchange.upstream_status = exchange.status = head.status
        self.count_outcome(head.status)
        if end:
            self.attempt = None
            self.end_permit()
            self.on_fetched(head, data, now)
            return
        self._head = head
        if head.length > self._max_bytes:
            self._refuse()
        elif data:
            self._keep(data)

    def on_data(self, data: bytes, end: bool, trailers: Fields | None, now: float) -> None:
        if not end:
            self._keep(data)
            return
        self.attempt = None
        self.end_permit()
        self._parts.append(data)
        assert self._head is not None
        self.on_fetched(self._head, b"".join(self._parts), now)

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._max_bytes:
            self._refuse()

    def _refuse(self) -> None:
        """More than we keep: not the target's failure, and of no use."""
        self.on_client_gone()
        self.give_up(GatewayError("upstream_protocol", f"the answer is larger than {self._max_bytes} bytes"))

    def expire(self) -> None:
        """The time is up."""
        self.stop_waiting()
        attempt, self.attempt = self.attempt, None
        reason = "upstream_timeout" if attempt is None else attempt.expire()
        self.end_permit()
        self.give_up(GatewayError(reason, f"{self.upstream.name} had no answer within {self.timeout_s:g}s"))

    def cut(self, error: GatewayError) -> None:
        self.give_up(error)

    def on_upgrade(self, attempt: Attempt, head: ResponseHead, data: bytes) -> None:
        """Never: none is asked for."""

    def on_interim(self, head: ResponseHead) -> None:
        """Nobody to tell."""

    def on_request_data(self, data: bytes, end: bool) -> None:
        """Never: the request was whole from the beginning."""

    def on_target_slow(self) -> None:
        """Nothing to hold back: the request was written at once."""

    def on_target_ready(self) -> None:
        """As above."""

    def on_tunnel_data(self, data: bytes) -> None:
        """Never: upgrades are refused."""

    def on_tunnel_end(self) -> None:
        """As above."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self._target} to {self.exchange.target}>"


class Awaited(Fetch):
    """A Fetch whose end is a future's: (head, body), or a GatewayError."""

    __slots__ = ("done",)

    def __init__(
        self,
        upstream: Upstream,
        facts: UpstreamFacts,
        done: asyncio.Future[Answered],
        *,
        method: str,
        target: str,
        lines: str,
        body: bytes,
        timeout_s: float,
        max_bytes: int,
        now: Callable[[], float],
    ) -> None:
        super().__init__(
            upstream,
            facts,
            method=method,
            target=target,
            lines=lines,
            body=body,
            timeout_s=timeout_s,
            max_bytes=max_bytes,
            now=now,
        )
        self.done = done

    def on_fetched(self, head: ResponseHead, body: bytes, now: float) -> None:
        if not self.done.done():
            self.done.set_result((head, body))

    def give_up(self, error: GatewayError) -> None:
        if not self.done.done():
            self.done.set_exception(error)
