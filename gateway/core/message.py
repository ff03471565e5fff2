"""The users' Python sees a Request and answers with a Response. Public: `from gateway import Request, Response`."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl

from gateway.core.errors import GatewayError
from gateway.core.headers import Headers
from gateway.core.json import JSONDecodeError, dumps, loads

__all__ = ["Body", "FetchError", "Fetched", "Gateway", "Headers", "Request", "Response"]

Body = bytes | str | AsyncIterable[bytes] | Iterable[bytes]
"""Of a Response: bytes; text (sent as UTF-8); or pieces of bytes that are sent as they come.

Pieces of an async iterator are awaited on the event loop, those of a plain one are made on the executor. Each has the
route's `timeout`. The iterator is closed (`aclose`, `close`) when the client leaves.
"""


class Fetched:
    """What an upstream answered to `fetch`."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return loads(self.body)

    def __repr__(self) -> str:
        return f"<Fetched {self.status} {len(self.body)} bytes>"


class Gateway(ABC):
    """What a request can ask of the gateway: `request.gateway`."""

    __slots__ = ()

    @abstractmethod
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
        """Ask an upstream of the config, balanced, pooled and timed as a route's request is. For `async def`.

        `timeout_s` is bounded by what is left of the request. Raises FetchError.
        """

    @abstractmethod
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
        """`fetch` for a plain `def`: blocks the thread of the executor that it runs on. Raises FetchError."""


class FetchError(Exception):
    """An upstream gave no answer; `reason` is what the gateway would have answered with (`upstream_timeout`, ...)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        return FetchError, (self.reason, self.detail)


class Request:
    """One request. A plugin may set `path`, `query`, `headers` and `body`: what comes after it sees the change.

    What the gateway says itself to an upstream (Host, Content-Length and other framing, X-Forwarded-*, X-Request-Id)
    cannot be changed through `headers`.
    """

    def __init__(
        self,
        *,
        method: str,
        path: str,
        query: str = "",
        headers: Headers | None = None,
        body: bytes | None = b"",
        params: dict[str, str] | None = None,
        client_ip: str = "",
        request_id: str = "",
        deadline: float = float("inf"),
        gateway: Gateway | None = None,
    ) -> None:
        self.method = method
        self.path = path
        """Normalised, still encoded, without the query."""
        self.query = query
        """As it came, without the `?`."""
        self._headers = Headers() if headers is None else headers
        self.params = {} if params is None else params
        """What the route's `{param}` matched, decoded."""
        self.client_ip = client_ip
        self.request_id = request_id
        self.deadline = deadline
        """`time.monotonic()` at which the answer is due."""
        self.state: dict[str, Any] = {}
        """For plugins and the handler to hand on what they found; nothing of it leaves the gateway."""
        self._body = body
        self._gateway = gateway

    @property
    def headers(self) -> Headers:
        """The header fields, Host among them; without hop-by-hop fields (RFC 9110 section 7.6.1)."""
        return self._headers

    @headers.setter
    def headers(self, fields: "Mapping[str, str] | Iterable[tuple[str, str]] | Headers") -> None:
        self._headers = fields if isinstance(fields, Headers) else Headers(fields)

    @property
    def body(self) -> bytes:
        """The whole body. Raises GatewayError where it was too large to be kept (a plugin sees `buffer.request`)."""
        if self._body is None:
            raise GatewayError(
                "plugin_error", "the body is larger than the route's buffer.request; raise it to let plugins see it"
            )
        return self._body

    @body.setter
    def body(self, value: bytes) -> None:
        if not isinstance(value, bytes):
            raise TypeError(f"the body of a request is bytes, not {type(value).__name__}")
        self._body = value

    @property
    def has_body(self) -> bool:
        """Whether `body` can be read: a plugin does not see bodies beyond the route's `buffer.request`."""
        return self._body is not None

    def json(self) -> Any:
        """The body as JSON. What is not JSON ends the request with 400 `bad_request`."""
        try:
            return loads(self.body)
        except JSONDecodeError as error:
            raise GatewayError("bad_request", f"the body is not valid JSON: {error}") from None

    @property
    def args(self) -> dict[str, str]:
        """The query, decoded; of a repeated name the last value."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of the request (RFC 6265)."""
        try:
            jar = SimpleCookie(self.headers.get("cookie", ""))
        except CookieError:
            return {}
        return {name: morsel.value for name, morsel in jar.items()}

    @property
    def gateway(self) -> Gateway:
        """Calls out. Raises RuntimeError in a process of an executor, which has no event loop of the gateway."""
        if self._gateway is None:
            raise RuntimeError("request.gateway is not there in an executor of processes; fetch before, or use threads")
        return self._gateway

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_gateway": None}

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"


class Response:
    """An answer: `Response("text")`, `Response(json={...})`, `Response(status=204)`, or a body in pieces.

    Framing, Date and X-Request-Id are written by the gateway, whatever `headers` say of them.
    """

    def __init__(
        self,
        body: Body = b"",
        *,
        status: int = 200,
        headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]] = (),
        json: Any = None,
    ) -> None:
        """Raises ValueError on a status or a header field that HTTP does not have, TypeError on a body that is none.

        `content-type` is set where `headers` have none: JSON, plain text for str, else octets.
        """
        self._status = _checked_status(status)
        self._headers = Headers(headers)
        self.body: Body | None = body
        """In `on_response` None while the body streams, and bytes where it is whole."""
        if json is not None:
            self.body = dumps(json)
            self._headers.setdefault("content-type", "application/json")
        elif isinstance(body, str):
            self.body = body.encode()
            self._headers.setdefault("content-type", "text/plain; charset=utf-8")
        elif isinstance(body, bytes):
            if body:
                self._headers.setdefault("content-type", "application/octet-stream")
        elif isinstance(body, (AsyncIterable, Iterable)) and not isinstance(body, (Mapping, bytearray, memoryview)):
            self._headers.setdefault("content-type", "application/octet-stream")
        else:
            raise TypeError(
                f"a body is bytes, str or an iterator of bytes, not {type(body).__name__}; for JSON: Response(json=...)"
            )

    @classmethod
    def of_checked(cls, status: int, headers: Headers, body: bytes | None) -> "Response":
        """Of an answer that is on its way to the client; body: None while it streams."""
        response = cls.__new__(cls)
        response._status = status
        response._headers = headers
        response.body = body
        return response

    @property
    def status(self) -> int:
        """200 to 599."""
        return self._status

    @status.setter
    def status(self, value: int) -> None:
        self._status = _checked_status(value)

    @property
    def headers(self) -> Headers:
        """The header fields."""
        return self._headers

    @headers.setter
    def headers(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] | Headers) -> None:
        self._headers = fields if isinstance(fields, Headers) else Headers(fields)

    def __repr__(self) -> str:
        return f"<Response {self._status}>"


def _checked_status(status: int) -> int:
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"an answer's status is 200 to 599, not {status}")
    return status
