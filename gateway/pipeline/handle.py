"""Every request, from its head to its log line, in numbered steps.

1 match   2 admit   3 ask   4 answer   5 tell   6 send   7 close
In this version nothing is asked or told (policies, plugins); 6 is the connection's own work.
"""

import random
from collections.abc import Callable


from gateway.core.errors import GatewayError
from gateway.core.exchange import Exchange
from gateway.decide.route.path import PathError, normalise_path
from gateway.decide.route.table import Match, Miss, RouteTable
from gateway.pipeline.client_facts import ClientFacts
from gateway.pipeline.respond import RedirectToHttps, respond_error, send_whole
from gateway.pipeline.route import Call, Route, RouteStats
from gateway.transport.server import ServerConnection
from gateway.wire.head import RequestHead
from gateway.wire.hops import Networks

UNMATCHED = "_unmatched"
MEMO_SIZE = 4096
"""Distinct (method, host, path) remembered with their route; a scan of random paths only empties the memo."""
MEMO_PATH = 256
"""Longer paths are not remembered."""


class Snapshot:
    """All that one config generation built; swapped as a whole, a request keeps the one it began with."""

    def __init__(
        self,
        *,
        table: RouteTable[Route],
        body_limit: int | None,
        trusted: Networks,
        via: str,
    ) -> None:
        self.table = table
        self.body_limit = body_limit
        self.trusted = trusted
        self.via = via
        self.memo: dict[tuple[str, str, str], tuple[str, Match[Route]]] = {}


class Pipeline:
    """The Handler of the client connections of one listener."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        unmatched: RouteStats,
        stats: dict[str, RouteStats],
        log: Callable[[Exchange], None] | None,
        now: Callable[[], float],
        redirect_https: bool = False,
    ) -> None:
        self.snapshot = snapshot
        self._stats = stats
        self._unmatched = unmatched
        self._log = log
        self._now = now
        self._redirect = RedirectToHttps() if redirect_https else None
        self._id_prefix = f"{random.SystemRandom().getrandbits(80):020x}"
        self._ids = 0
        self.in_flight = 0

    def handle(self, connection: ServerConnection, head: RequestHead, data: bytes, end: bool) -> None:
        """Take one request: 1 match, 2 admit, 4 answer."""
        snapshot = self.snapshot
        exchange = self._open(connection, head)
        try:
            key = (head.method, head.host, head.path)
            known = snapshot.memo.get(key)
            if known is None:
                if self._redirect is not None:
                    normalise_path(head.path)
                    self._redirect.begin(connection, exchange, head.host)
                    return
                known = self._match(connection, exchange, head)
                if known is None:
                    return
            path, match = known
            route = match.value
            exchange.route = route.name
            self._unmatched.in_flight -= 1
            route.stats.in_flight += 1
            self._admit(connection, head, route, data)
            route.answer.begin(Call(connection, exchange, head, path, match, data, end))
        except PathError as error:
            respond_error(connection, exchange, GatewayError("bad_request", str(error)))
        except GatewayError as error:
            respond_error(connection, exchange, error)

    def _open(self, connection: ServerConnection, head: RequestHead) -> Exchange:
        """The exchange with what is known from the head."""
        facts: ClientFacts | None = connection.forwarding
        if facts is None:
            snapshot = self.snapshot
            facts = connection.forwarding = ClientFacts(connection, snapshot.trusted, snapshot.via)
        exchange = Exchange(head.method, head.path, head.query, head.version, self._now())
        connection.exchange = exchange
        fields = head.fields
        if facts.trusted:
            exchange.client_ip = facts.client_ip(head)
            exchange.scheme = facts.client_scheme(head)
            exchange.request_id = fields.get("x-request-id") or self._new_id()
        else:
            exchange.client_ip = facts.peer
            exchange.scheme = facts.scheme
            exchange.request_id = self._new_id()
        exchange.host = head.authority
        exchange.user_agent = fields.index.get("user-agent")
        exchange.tls = connection.tls
        self.in_flight += 1
        self._unmatched.in_flight += 1
        return exchange

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._id_prefix}{self._ids:012x}"

    def _match(
        self, connection: ServerConnection, exchange: Exchange, head: RequestHead
    ) -> tuple[str, Match[Route]] | None:
        """1 match: the route with the normalised path; None where the request is answered already."""
        snapshot = self.snapshot
        if head.path == "*" or head.method in ("OPTIONS", "TRACE"):
            if self._answer_hop(connection, exchange, head):
                return None
        path = normalise_path(head.path)
        found = snapshot.table.find(head.method, head.host, path, head.fields.get, head.query)
        if isinstance(found, Miss):
            if found.allow:
                error = GatewayError("method_not_allowed", f"{head.method} is not allowed here; see Allow")
                respond_error(connection, exchange, error, found.allow)
            else:
                respond_error(connection, exchange, GatewayError("no_route", f"no route matches {head.host}{path}"))
            return None
        known = path, found
        if found.cacheable and len(head.path) <= MEMO_PATH and head.method not in ("OPTIONS", "TRACE"):
            if len(snapshot.memo) >= MEMO_SIZE:
                snapshot.memo.clear()
            snapshot.memo[head.method, head.host, head.path] = known
        return known

    def _answer_hop(self, connection: ServerConnection, exchange: Exchange, head: RequestHead) -> bool:
        """TRACE is refused, `OPTIONS *` and OPTIONS that may go no further are answered here (RFC 9110 7.6.2)."""
        if head.method == "TRACE":
            error = GatewayError("method_not_allowed", "TRACE is not served here")
            respond_error(connection, exchange, error, ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))
            return True
        if head.path == "*" or head.fields.get("max-forwards") == "0":
            send_whole(connection, exchange, 204, "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n", b"")
            return True
        return False

    def _admit(self, connection: ServerConnection, head: RequestHead, route: Route, data: bytes) -> None:
        """2 admit: what this request may not be. Raises GatewayError."""
        fields = head.fields
        if fields.expects is not None and fields.expects.lower() != "100-continue":
            raise GatewayError("expectation_failed", "the only expectation served here is 100-continue")
        via = fields.index.get("via")
        if via is not None and self.snapshot.via in via:
            raise GatewayError("loop_detected", "this request has passed this gateway before")
        limit = route.body_limit
        if limit is not None:
            connection.body_limit = limit
            if fields.length > limit or len(data) > limit:
                raise GatewayError("body_too_large", f"the body exceeds {limit} bytes")

    def reject(self, connection: ServerConnection, error: GatewayError) -> None:
        """Answer what could not be read as a request, or whose body broke."""
        exchange = connection.exchange
        if exchange is None:
            exchange = connection.exchange = Exchange("", "", None, connection.version, self._now())
            exchange.client_ip = connection.peer or ""
            exchange.scheme = connection.listener.scheme
            exchange.request_id = self._new_id()
            self.in_flight += 1
            self._unmatched.in_flight += 1
        respond_error(connection, exchange, error)

    def finished(self, exchange: Exchange, now: float) -> None:
        """7 close: count and log."""
        duration = now - exchange.started_at
        exchange.ended_at = now
        overhead = exchange.overhead_s + duration
        exchange.overhead_s = overhead if overhead > 0.0 else 0.0
        if exchange.status == 0 or exchange.reason == "client_closed":
            exchange.status = 499
        stats = self._stats.get(exchange.route, self._unmatched)
        self.in_flight -= 1
        stats.in_flight -= 1
        stats.count(exchange, duration)
        if self._log is not None:
            self._log(exchange)
