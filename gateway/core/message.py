"""The users' Python sees a Request and answers with a Response. Public: `from gateway import Request, Response`."""

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qsl

from gateway.core.errors import GatewayError
from gateway.core.json import JSONDecodeError, dumps, loads

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch

Body = bytes | str | AsyncIterable[bytes] | Iterable[bytes]
"""Of a Response: bytes; text (sent as UTF-8); or pieces of bytes that are sent as they come."""


class Headers:
    """Header fields: names in any case, repeated ones kept in their order (RFC 9110 section 5)."""

    __slots__ = ("_lines",)

    def __init__(self, fields: "Mapping[str, str] | Iterable[tuple[str, str]] | Headers" = ()) -> None:
        """Raises ValueError on a name that is no token, or a value that could end its line."""
        self._lines: list[tuple[str, str]] = []
        pairs = fields.items() if isinstance(fields, (Headers, Mapping)) else fields
        for name, value in pairs:
            self.add(name, value)

    @classmethod
    def of_checked(cls, lines: Iterable[tuple[str, str]]) -> "Headers":
        """Of fields that passed the gateway's own grammar."""
        headers = cls()
        headers._lines = list(lines)
        return headers

    def add(self, name: str, value: str) -> None:
        """One more field, beside those of the same name. Raises ValueError."""
        if _NAME(name) is None:
            raise ValueError(f"{name!r} is not the name of a header field")
        if _VALUE(value) is None:
            raise ValueError(f"the value of {name} holds a character that no header field can: {value!r}")
        self._lines.append((name, value.strip(" \t")))

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value; repeated fields are joined with a comma (RFC 9110 section 5.3)."""
        found = self.get_all(name)
        return ", ".join(found) if found else default

    def get_all(self, name: str) -> list[str]:
        """The values of all fields of that name."""
        key = name.lower()
        return [value for known, value in self._lines if known.lower() == key]

    def items(self) -> list[tuple[str, str]]:
        """(name as written, value), in order."""
        return list(self._lines)

    def setdefault(self, name: str, value: str) -> None:
        """Add the field where there is none of that name. Raises ValueError."""
        if name not in self:
            self.add(name, value)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        """Replace all fields of that name. Raises ValueError."""
        one = Headers([(name, value)])
        self.pop(name)
        self._lines += one._lines

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self.pop(name)

    def pop(self, name: str) -> str | None:
        """Take the fields of that name out; their value."""
        value, key = self.get(name), name.lower()
        self._lines = [line for line in self._lines if line[0].lower() != key]
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(known.lower() == name.lower() for known, _ in self._lines)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._lines))

    def __len__(self) -> int:
        return len(self._lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._lines == other._lines

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({self._lines!r})"


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


class Request:
    """One request. A plugin may set `path`, `query`, `headers` and `body`: what comes after it sees the change."""

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
        self.headers = Headers() if headers is None else headers
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
    def body(self) -> bytes:
        """The whole body. Raises GatewayError where it was too large to be kept (a plugin sees `buffer.request`)."""
        if self._body is None:
            raise GatewayError(
                "plugin_error", "the body is larger than the route's buffer.request; raise it to let plugins see it"
            )
        return self._body

    @body.setter
    def body(self, value: bytes) -> None:
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
    """An answer: `Response("text")`, `Response(json={...})`, `Response(status=204)`, or a body in pieces."""

    def __init__(
        self,
        body: Body = b"",
        *,
        status: int = 200,
        headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]] = (),
        json: Any = None,
    ) -> None:
        """Raises ValueError on a status or a header field that HTTP does not have, TypeError on JSON that is none."""
        if not 200 <= status <= 599:
            raise ValueError(f"an answer's status is 200 to 599, not {status}")
        self.status = status
        self.headers = Headers(headers)
        self.body: Body = body
        if json is not None:
            self.body = dumps(json)
            self.headers.setdefault("content-type", "application/json")
        elif isinstance(body, str):
            self.body = body.encode()
            self.headers.setdefault("content-type", "text/plain; charset=utf-8")
        elif body:
            self.headers.setdefault("content-type", "application/octet-stream")

    def __repr__(self) -> str:
        return f"<Response {self.status}>"
