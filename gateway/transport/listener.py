"""What the connections of one listening address share, and who answers on them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.core.errors import GatewayError
from gateway.core.exchange import Exchange
from gateway.core.memo import Memo
from gateway.transport.deadlines import Deadlines
from gateway.transport.flow import Buffered
from gateway.transport.outgoing import Outbox
from gateway.transport.settings import ClientSettings
from gateway.wire.head import RequestFields, RequestHead

if TYPE_CHECKING:
    from gateway.transport.server import ServerConnection

MEMO_SIZE: Final = 512
"""Distinct field sections remembered."""
MEMO_BYTES: Final = 1024
"""Longer ones are not."""


class Handler(ABC):
    """Who answers. `handle` gives the connection its exchange, and may call `send` before it returns."""

    __slots__ = ()

    @abstractmethod
    def handle(self, connection: "ServerConnection", head: RequestHead, data: bytes, end: bool) -> None: ...

    @abstractmethod
    def reject(self, connection: "ServerConnection", error: GatewayError) -> None: ...

    @abstractmethod
    def finished(self, exchange: Exchange, now: float) -> None: ...


class Listener:
    """What the connections of one listening address share. `handler` is swapped as a whole at a reload."""

    def __init__(
        self,
        *,
        name: str,
        scheme: str,
        settings: ClientSettings,
        deadlines: Deadlines,
        handler: Handler,
        buffered: Buffered,
        outbox: Outbox,
        call_soon: Callable[..., Any],
        on_open: Callable[[], None] = lambda: None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.scheme = scheme
        self.settings = settings
        self.deadlines = deadlines
        self.handler = handler
        self.buffered = buffered
        self.outbox = outbox
        self.call_soon = call_soon
        self.on_open = on_open
        self.on_close = on_close
        self.connections: set[ServerConnection] = set()
        self.draining = False
        self.memo: Memo[bytes, RequestFields] = Memo(MEMO_SIZE)

    def use(self, settings: ClientSettings) -> None:
        """Let clients cost so much from now on; on open connections, from their next deadline and request."""
        if settings != self.settings:
            self.settings = settings
            self.memo = Memo(MEMO_SIZE)  # fields that were parsed within other limits

    def fields(self, section: bytes) -> RequestFields:
        """The parsed fields of `section`. Clients repeat themselves, so equal sections are parsed once."""
        fields = self.memo.found.get(section)
        if fields is None:
            fields = RequestFields(section.decode("latin-1"), self.settings.head)
            if len(section) <= MEMO_BYTES:
                self.memo.keep(section, fields)
        return fields

    def drain(self) -> None:
        """Close idle connections now, and the others with their next answer."""
        self.draining = True
        for connection in list(self.connections):
            connection.drain()

    def __repr__(self) -> str:
        return f"<Listener {self.name} {len(self.connections)} connections>"
