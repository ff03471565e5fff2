"""A route at run time: what it answers with, its limits, and its counts."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mypy_extensions import mypyc_attr

from gateway.core.exchange import Exchange
from gateway.decide.route.table import Match
from gateway.observe.registry import Registry
from gateway.transport.server import ServerConnection
from gateway.wire.head import RequestHead

_METHODS: Final = frozenset("GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH".split())
"""RFC 9110 section 9, and PATCH (RFC 5789); any other counts as OTHER, so that clients cannot make up series."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Answer(ABC):
    """How a route answers. `begin` may raise GatewayError."""

    __slots__ = ()

    @abstractmethod
    def begin(self, call: "Call") -> None: ...


@dataclass(frozen=True, slots=True)
class Changes:
    """What plugins changed of a request; None where nothing did."""

    path: str | None
    query: str | None
    lines: str | None
    """Complete field lines, without Host and what the gateway adds."""


class Call(Exchange):
    """An exchange under way: its facts, and the parts that the steps hand on to each other."""

    __slots__ = ("changes", "connection", "data", "end", "head", "match", "normal_path", "stats")

    def __init__(self, connection: ServerConnection, head: RequestHead, data: bytes, end: bool, now: float) -> None:
        Exchange.__init__(self, head.method, head.path, head.query, head.version, now)
        self.connection = connection
        self.head = head
        self.data = data
        """The part of the body that came with the head."""
        self.end = end
        """Whether that is all of it."""
        if data:
            self.bytes_in = len(data)
        self.normal_path: str = head.path
        self.match: Match[Route] = _NO_MATCH
        self.stats: RouteStats | None = None
        self.changes: Changes | None = None
        """What plugins changed for the upstream."""


class RouteStats:
    """Counts of one route (or of `_unmatched`); its series begin with its first request."""

    __slots__ = (
        "_cells",
        "_codes",
        "_duration",
        "_generated",
        "_in_flight",
        "_overhead",
        "_received",
        "_registry",
        "_sent",
        "name",
    )

    def __init__(self, name: str, registry: Registry) -> None:
        self.name = name
        self._registry = registry
        self._cells = registry.cells
        self._codes: dict[tuple[str, int, str], int] = {}
        self._generated: dict[str, int] = {}
        self._in_flight = -1

    def begun(self) -> None:
        """An exchange began."""
        if self._in_flight < 0:
            self._register()
        self._cells[self._in_flight] += 1.0

    def _register(self) -> None:
        registry = self._registry
        self._in_flight = registry.gauge("gateway_http_requests_in_flight", route=self.name)
        self._duration = registry.histogram("gateway_http_request_duration_seconds", route=self.name)
        self._overhead = registry.histogram("gateway_http_request_overhead_seconds", route=self.name)
        self._received = registry.counter("gateway_http_request_bytes_total", route=self.name)
        self._sent = registry.counter("gateway_http_response_bytes_total", route=self.name)

    def ended(self, exchange: Exchange, duration_s: float) -> None:
        """An exchange that began ended."""
        cells = self._cells
        cells[self._in_flight] -= 1.0
        key = (exchange.method, exchange.status, exchange.source)
        cell = self._codes.get(key)
        if cell is None:
            cell = self._code_cell(*key)
        cells[cell] += 1.0
        self._duration.observe(duration_s)
        self._overhead.observe(exchange.overhead_s)
        if exchange.bytes_in:
            cells[self._received] += exchange.bytes_in
        cells[self._sent] += exchange.bytes_out
        if exchange.reason is not None:
            self._count_reason(exchange.reason)

    def _code_cell(self, method: str, status: int, source: str) -> int:
        known = method in _METHODS
        cell = self._registry.counter(
            "gateway_http_requests_total",
            route=self.name,
            method=method if known else "OTHER",
            code=str(status),
            source=source,
        )
        if known:
            self._codes[method, status, source] = cell
        return cell

    def _count_reason(self, reason: str) -> None:
        cell = self._generated.get(reason)
        if cell is None:
            cell = self._generated[reason] = self._registry.counter(
                "gateway_responses_generated_total", route=self.name, reason=reason
            )
        self._cells[cell] += 1.0


class WatchedStats(RouteStats):
    """Also says when an exchange of the route begins and when it is over."""

    __slots__ = ("_enter", "_leave")

    def __init__(self, name: str, registry: Registry, enter: Callable[[], None], leave: Callable[[], None]) -> None:
        super().__init__(name, registry)
        self._enter = enter
        self._leave = leave

    def begun(self) -> None:
        self._enter()
        super().begun()

    def ended(self, exchange: Exchange, duration_s: float) -> None:
        super().ended(exchange, duration_s)
        self._leave()


class Route:
    """One route of the snapshot."""

    __slots__ = ("answer", "body_limit", "name", "stats", "weight")

    def __init__(
        self, *, name: str, answer: Answer, body_limit: int | None, stats: RouteStats, weight: int = 1
    ) -> None:
        self.name = name
        self.answer = answer
        self.body_limit = body_limit
        """Bytes of the request's body; None: off."""
        self.stats = stats
        self.weight = weight
        """Of its class: lower ones are shed first."""

    def __repr__(self) -> str:
        return f"<Route {self.name}>"


_NO_MATCH: Final[Match[Any]] = Match(None, {}, "", False)
