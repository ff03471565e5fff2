"""The Request of a client, for the users' Python: what it asks for is made when it is asked for."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from gateway.core.message import Gateway, Headers, Request
from gateway.pipeline.fetcher import Fetcher, RequestGateway
from gateway.pipeline.route import Call
from gateway.wire.head import RequestHead
from gateway.wire.hops import request_fields


class ClientRequest(Request):
    """Holds the head that came, until somebody looks at the headers."""

    def __init__(self, call: Call, body: bytes | None, deadline: float, fetcher: Fetcher, queue: str) -> None:
        """body: None where it is not here, or not to be seen; deadline: on the monotonic clock; queue: its class."""
        self.method = call.method
        self.path = call.normal_path
        self.query = call.query or ""
        params = call.match.params
        self.params = {name: unquote(value) for name, value in params.items()} if params else {}
        self.client_ip = call.client_ip
        self.request_id = call.request_id
        self.deadline = deadline
        self.state = {}
        self._body = body
        self._head = call.head
        self._fetcher = fetcher
        self._queue = queue
        self._made: Headers | None = None

    @property
    def headers(self) -> Headers:
        """The header fields, Host among them; without hop-by-hop fields (RFC 9110 section 7.6.1)."""
        made = self._made
        if made is None:
            made = self._made = Headers.of_checked(fields_of(self._head))
        return made

    @headers.setter
    def headers(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] | Headers) -> None:
        self._made = fields if isinstance(fields, Headers) else Headers(fields)

    @property
    def headers_changed(self) -> bool:
        """Whether they are not what came."""
        return self._made is not None and self._made.items() != fields_of(self._head)

    @property
    def gateway(self) -> Gateway:
        """Calls out."""
        return RequestGateway(self._fetcher, self.request_id, self.deadline, self._queue)

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process it goes as a plain Request."""
        kept = {
            name: value for name, value in self.__dict__.items() if name not in ("_head", "_fetcher", "_queue", "_made")
        }
        return _plain, (), {**kept, "_headers": self.headers, "_gateway": None}


def _plain() -> Request:
    return Request.__new__(Request)


def fields_of(head: RequestHead) -> list[tuple[str, str]]:
    """What a request says to whom it is meant for, as upstreams get it."""
    host = [("Host", head.authority)] if head.authority else []
    return host + request_fields(head.fields)
