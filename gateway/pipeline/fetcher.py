"""Asking upstreams from Python: Fetcher for the gateway's own coroutines, RequestGateway for the users'."""

import asyncio
import re
import threading
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final

from gateway.core.errors import GatewayError
from gateway.core.exchange import UpstreamFacts
from gateway.core.json import dumps
from gateway.core.message import Fetched, FetchError, Gateway, Headers
from gateway.decide.resilience.queue_settings import DEFAULT
from gateway.pipeline.fetch import MAX_BYTES, Answered, Awaited
from gateway.upstreams.upstream import Upstream
from gateway.wire.hops import lines_of

_TARGET: Final = re.compile(r"/[!-~]*").fullmatch
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_OURS: Final = frozenset(
    "host content-length transfer-encoding connection x-request-id x-request-timeout-ms via upgrade".split()
)


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
        queue: str = DEFAULT,
        max_bytes: int = MAX_BYTES,
    ) -> Fetched:
        """Ask `upstream`, within `limit_s` for all of it; where that is full, wait in `queue`.

        Raises GatewayError with the reasons of forwarding.
        """
        now = self.now()
        facts = UpstreamFacts(now)
        facts.request_id = request_id
        done: asyncio.Future[Answered] = self.loop.create_future()
        fetch = Awaited(
            self.upstreams[upstream],
            facts,
            done,
            method=method,
            target=path,
            lines=self.lines(headers, method, body, request_id),
            body=body,
            timeout_s=limit_s,
            max_bytes=max_bytes,
            now=self.now,
        )
        fetch.queue = queue
        timer = None if limit_s == inf else self.loop.call_later(limit_s, fetch.expire)
        fetch.begin(now)
        try:
            answer, data = await done
        except asyncio.CancelledError:
            fetch.on_client_gone()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return Fetched(answer.status, Headers.of_checked(answer.fields.lines), data)


class RequestGateway(Gateway):
    """`request.gateway`: the Fetcher with one request's id, deadline and class."""

    __slots__ = ("_deadline", "_fetcher", "_queue", "_request_id")

    def __init__(self, fetcher: Fetcher, request_id: str, deadline: float, queue: str) -> None:
        self._queue = queue
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
                queue=self._queue,
            )
        except GatewayError as error:
            raise FetchError(error.reason.name, error.detail) from None

    def fetch_blocking(self, upstream: str, path: str, **asked: Any) -> Fetched:
        """Raises what `fetch` does; RuntimeError on the event loop, which it would stall."""
        if self._fetcher.on_loop:
            raise RuntimeError("fetch_blocking would stall the event loop: `await request.gateway.fetch(...)` there")
        fetched = self.fetch(upstream, path, **asked)
        return asyncio.run_coroutine_threadsafe(fetched, self._fetcher.loop).result()
