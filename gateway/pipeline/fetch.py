"""Requests that the gateway makes itself, to the same upstreams and in the same attempts as those of clients.

Fetch collects an answer whole and tells its subclass (no task, no future: an aggregate makes many at once);
Fetcher is the same to await, and RequestGateway what the users' Python gets of it.
"""

import asyncio
import re
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final

from gateway.core.errors import GatewayError
from gateway.core.exchange import UpstreamFacts
from gateway.core.json import dumps
from gateway.core.message import Fetched, FetchError, Gateway, Headers
from gateway.pipeline.attempt import Attempt
from gateway.pipeline.delivery import Delivery
from gateway.transport.client import UpstreamConnection
from gateway.upstreams.upstream import Upstream
from gateway.wire.fields import Fields
from gateway.wire.head import ResponseHead
from gateway.wire.hops import lines_of

MAX_BYTES: Final = 10 * 1024 * 1024
"""Of an answer that is collected whole; the same as the default of `limits.body`."""
_TARGET: Final = re.compile(r"/[!-~]*").fullmatch
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_OURS: Final = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "x-request-id", "via", "upgrade")
)


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
        self.engage(None, now)

    def again(self, now: float) -> None:
        self.engage(None, now)

    def send_request(self, attempt: Attempt, connection: UpstreamConnection, now: float) -> None:
        host = attempt.target.authority
        head = f"{self.method} {self._target} HTTP/1.1\r\nHost: {host}\r\n{self._lines}\r\n".encode("latin-1")
        connection.send(attempt, self.method, head + self._body, True, self.head_timeout_s(now), now)

    def on_head(self, head: ResponseHead, data: bytes, end: bool, now: float) -> None:
        exchange = self.exchange
        exchange.upstream_status = exchange.status = head.status
        if exchange.attempts > 1:
            self.upstream.count_retry("ok")
        if end:
            self.attempt = None
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
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.expire()
        self.give_up(GatewayError("upstream_timeout", f"{self.upstream.name} had no answer within {self.timeout_s:g}s"))

    def cut(self, error: GatewayError) -> None:
        self.give_up(error)

    def on_upgrade(self, attempt: Attempt, head: ResponseHead, data: bytes) -> None:
        attempt.fail("upstream_protocol", "the upstream switched to a protocol that was not asked for")

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


class _Awaited(Fetch):
    """A Fetch whose end is a future's."""

    __slots__ = ("done",)

    def __init__(self, *arguments: Any, done: asyncio.Future[Fetched], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.done = done

    def on_fetched(self, head: ResponseHead, body: bytes, now: float) -> None:
        if not self.done.done():
            self.done.set_result(Fetched(head.status, Headers.of_checked(head.fields.lines), body))

    def give_up(self, error: GatewayError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Fetcher:
    """Fetches to await; one for all upstreams of a config."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        *,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], float],
        via: str,
    ) -> None:
        self.upstreams = upstreams
        self.loop = loop
        self.now = now
        self.via = via
        self._thread = threading.get_ident()

    @property
    def on_loop(self) -> bool:
        """Whether the caller runs on the loop's thread."""
        return threading.get_ident() == self._thread

    def lines(self, headers: str, method: str, body: bytes, request_id: str) -> str:
        """All field lines of a request but Host: `headers` (complete lines), and ours."""
        framing = f"Content-Length: {len(body)}\r\n" if body or method not in ("GET", "HEAD", "DELETE") else ""
        return f"{headers}{framing}X-Request-Id: {request_id}\r\nVia: {self.via}\r\n"

    async def fetch(
        self,
        upstream: str,
        *,
        method: str,
        path: str,
        headers: str,
        body: bytes,
        limit_s: float,
        request_id: str,
        max_bytes: int = MAX_BYTES,
    ) -> Fetched:
        """Ask `upstream`, within `limit_s` for all of it. Raises GatewayError with the reasons of forwarding."""
        now = self.now()
        facts = UpstreamFacts(now)
        facts.request_id = request_id
        done: asyncio.Future[Fetched] = self.loop.create_future()
        fetch = _Awaited(
            self.upstreams[upstream],
            facts,
            method=method,
            target=path,
            lines=self.lines(headers, method, body, request_id),
            body=body,
            timeout_s=limit_s,
            max_bytes=max_bytes,
            now=self.now,
            done=done,
        )
        timer = None if limit_s == inf else self.loop.call_later(limit_s, fetch.expire)
        fetch.begin(now)
        try:
            return await done
        except asyncio.CancelledError:
            fetch.on_client_gone()
            raise
        finally:
            if timer is not None:
                timer.cancel()


class RequestGateway(Gateway):
    """`request.gateway`: the Fetcher with one request's id and deadline."""

    __slots__ = ("_deadline", "_fetcher", "_request_id")

    def __init__(self, fetcher: Fetcher, request_id: str, deadline: float) -> None:
        self._fetcher = fetcher
        self._request_id = request_id
        self._deadline = deadline

    async def fetch(
        self,
        upstream: str,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | Headers | None = None,
        body: bytes = b"",
        json: Any = None,
        timeout_s: float | None = None,
    ) -> Fetched:
        """Raises FetchError; ValueError on what cannot be sent; KeyError on an upstream that the config has not."""
        fetcher = self._fetcher
        if upstream not in fetcher.upstreams:
            raise KeyError(f"the config has no upstream {upstream!r}; it has {', '.join(sorted(fetcher.upstreams))}")
        if _TARGET(path) is None or _TOKEN(method) is None:
            raise ValueError(
                f"{method} {path!r}: a path begins with / and is percent-encoded ASCII; a method is a token"
            )
        fields = Headers(headers or ())
        for name in _OURS:
            fields.pop(name)
        if json is not None:
            body = dumps(json)
            fields.setdefault("content-type", "application/json")
        left_s = self._deadline - fetcher.now()
        try:
            return await fetcher.fetch(
                upstream,
                method=method,
                path=path,
                headers=lines_of(fields.items()),
                body=body,
                limit_s=left_s if timeout_s is None else min(timeout_s, left_s),
                request_id=self._request_id,
            )
        except GatewayError as error:
            raise FetchError(error.reason.name, error.detail) from None

    def fetch_blocking(
        self,
        upstream: str,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | Headers | None = None,
        body: bytes = b"",
        json: Any = None,
        timeout_s: float | None = None,
    ) -> Fetched:
        """Raises what `fetch` does; RuntimeError on the event loop, which it would stall."""
        if self._fetcher.on_loop:
            raise RuntimeError("fetch_blocking would stall the event loop: `await request.gateway.fetch(...)` there")
        asked = self.fetch(upstream, path, method=method, headers=headers, body=body, json=json, timeout_s=timeout_s)
        return asyncio.run_coroutine_threadsafe(asked, self._fetcher.loop).result()
