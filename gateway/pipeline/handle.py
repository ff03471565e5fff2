"""Every request, from its head to its log line, in numbered steps.

1 match   2 admit   3 ask   4 answer   5 tell   6 send   7 close
Here are 1, 2 and 7; a route's Answer does 3 to 5, in a task of its own where Python has a part in it (`lane.py`); 6 is
the connection's own work.
"""

import logging
import random
from collections.abc import Callable
from typing import Final

from gateway.core.errors import GatewayError
from gateway.core.exchange import Exchange
from gateway.core.memo import Memo
from gateway.decide.resilience.overload import Overload
from gateway.decide.route.path import PathError, normalise_path
from gateway.decide.route.table import Match, Miss, RouteTable
from gateway.pipeline.client_facts import ClientFacts
from gateway.pipeline.respond import RedirectAnswer, Respond, redirect_to_https, respond_error, send_whole
from gateway.pipeline.route import Call, Route, RouteStats
from gateway.transport.listener import Handler
from gateway.transport.server import ServerConnection
from gateway.wire.head import RequestHead
from gateway.wire.hops import Networks

_log = logging.getLogger(__name__)
_ALLOW: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
UNMATCHED: Final = "_unmatched"
MEMO_SIZE: Final = 4096
"""Distinct (method, host, path) remembered with their route."""
MEMO_PATH: Final = 256
"""Longer paths are not remembered."""


class Snapshot:
    """All that one config generation built; swapped as a whole, a request keeps the one it began with."""

    def __init__(self, *, table: RouteTable[Route], trusted: Networks, via: str) -> None:
        self.table = table
        self.trusted = trusted
        self.via = via


class Pipeline(Handler):
    """The Handler of the client connections of one listener."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        unmatched: RouteStats,
        log: Callable[[Exchange], None] | None,
        now: Callable[[], float],
        redirect_https: bool = False,
        guarded_elsewhere: frozenset[str] = frozenset(),
    ) -> None:
        """guarded_elsewhere: names (`*.` for any label) that only listeners with another `client_ca` serve."""
        self.snapshot = snapshot
        self.memo: Memo[tuple[str, str, str], tuple[str, Match[Route]]] = Memo(MEMO_SIZE)
        self.guarded_elsewhere = guarded_elsewhere
        self._unmatched = unmatched
        self.log = log
        """Told of each exchange at its end."""
        self._now = now
        self._redirect_https = redirect_https
        self._id_prefix = f"{random.SystemRandom().getrandbits(80):020x}"
        self._ids = 0
        self.in_flight = 0
        self.overload: Overload | None = None
        """Who is asked ahead of each new request; None while all are taken."""

    def use(self, snapshot: Snapshot, guarded_elsewhere: frozenset[str]) -> None:
        """Answer by these from the next request on."""
        self.snapshot = snapshot
        self.guarded_elsewhere = guarded_elsewhere
        self.memo = Memo(MEMO_SIZE)

    def handle(self, connection: ServerConnection, head: RequestHead, data: bytes, end: bool) -> None:
        """Take one request: 1 match, 2 admit, 4 answer."""
        call = self._open(connection, head, data, end)
        try:
            if self._redirect_https:
                normalise_path(head.path)
                self._count(call, self._unmatched)
                redirect_to_https(call)
                return
            known = self.memo.found.get((head.method, head.host, head.path))
            if known is None:
                known = self._match(call)
                if known is None:
                    return
            call.normal_path, call.match = known
            route = call.match.value
            call.route = route.name
            self._count(call, route.stats)
            self._admit(call, route)
            route.answer.begin(call)
        except PathError as problem:
            self._refuse(call, GatewayError("bad_request", str(problem)))
        except GatewayError as error:
            self._refuse(call, error)
        except Exception:
            _log.exception("request %s: internal error; please report it", call.request_id)
            self._refuse(call, GatewayError("internal_error", "the gateway failed; its log says more"))

    def _open(self, connection: ServerConnection, head: RequestHead, data: bytes, end: bool) -> Call:
        """The exchange with what is known from the head."""
        facts: ClientFacts | None = connection.forwarding
        if facts is None:
            facts = connection.forwarding = ClientFacts(connection, self.snapshot.trusted, self.snapshot.via)
        call = Call(connection, head, data, end, self._now())
        connection.exchange = call
        fields = head.fields
        if facts.trusted:
            call.client_ip = facts.client_ip(head)
            call.scheme = facts.client_scheme(head)
            call.request_id = fields.get("x-request-id") or self._new_id()
        else:
            call.client_ip = facts.peer
            call.scheme = facts.scheme
            self._ids += 1
            call.request_id = f"{self._id_prefix}{self._ids:012x}"
        call.host = head.authority
        call.user_agent = fields.index.get("user-agent")
        call.tls = connection.tls
        return call

    def _count(self, call: Call, stats: RouteStats) -> None:
        call.stats = stats
        self.in_flight += 1
        stats.begun()

    def _refuse(self, call: Call, error: GatewayError, allow: tuple[str, ...] = ()) -> None:
        if call.stats is None:
            self._count(call, self._unmatched)
        respond_error(call.connection, call, error, self._now(), allow)

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._id_prefix}{self._ids:012x}"

    def _match(self, call: Call) -> tuple[str, Match[Route]] | None:
        """1 match: the route with the normalised path; None where the request is answered already."""
        snapshot, head = self.snapshot, call.head
        special = head.method in ("OPTIONS", "TRACE")
        if (special or head.path == "*") and self._answer_hop(call):
            return None
        if self.guarded_elsewhere and is_covered(head.host, self.guarded_elsewhere):
            raise GatewayError("misdirected", f"{head.host} is served on another listener, with client certificates")
        path = normalise_path(head.path)
        found = snapshot.table.find(head.method, head.host, path, head.fields.get, head.query)
        if isinstance(found, Miss):
            if found.allow:
                error = GatewayError("method_not_allowed", f"{head.method} is not allowed here; see Allow")
            else:
                error = GatewayError("no_route", f"no route matches {head.host}{path}")
            self._refuse(call, error, found.allow)
            return None
        known = path, found
        if found.cacheable and not special and len(head.path) <= MEMO_PATH:
            self.memo.keep((head.method, head.host, head.path), known)
        return known

    def _answer_hop(self, call: Call) -> bool:
        """TRACE is refused, `OPTIONS *` and OPTIONS that may go no further are answered here (RFC 9110 7.6.2)."""
        if call.method == "TRACE":
            self._refuse(call, GatewayError("method_not_allowed", "TRACE is not served here"), _ALLOW)
            return True
        hops = call.head.fields.get("max-forwards")
        if call.path == "*" or (hops and not hops.strip("0")):
            self._count(call, self._unmatched)
            send_whole(call.connection, call, 204, f"Allow: {', '.join(_ALLOW)}\r\n", b"", self._now())
            return True
        return False

    def _admit(self, call: Call, route: Route) -> None:
        """2 admit: what this request may not be. Raises GatewayError."""
        if self.overload is not None:
            self._shed(self.overload, route)
        fields = call.head.fields
        if fields.expects is not None and fields.expects.lower() != "100-continue":
            raise GatewayError("expectation_failed", "the only expectation served here is 100-continue")
        via = fields.index.get("via")
        if via is not None and self.snapshot.via in via:
            raise GatewayError("loop_detected", "this request has passed this gateway before")
        limit = route.body_limit
        if limit is not None and fields.length:
            call.connection.body_limit = limit
            if fields.length > limit or len(call.data) > limit:
                raise GatewayError("body_too_large", f"the body exceeds {limit} bytes")

    def _shed(self, overload: Overload, route: Route) -> None:
        """Refuse a share of what costs work; fixed answers, such as those to health checks, go on."""
        if not isinstance(route.answer, (Respond, RedirectAnswer)) and overload.refuses(route.weight):
            raise GatewayError(
                "shed_overload", f"too much to do ({overload.cause})", retry_after_s=overload.retry_after_s
            )

    def reject(self, connection: ServerConnection, error: GatewayError) -> None:
        """Answer what could not be read as a request, or whose body broke."""
        exchange = connection.exchange
        if exchange is None:
            exchange = connection.exchange = Exchange("", "", None, connection.version, self._now())
            exchange.client_ip = connection.peer or ""
            exchange.scheme = connection.listener.scheme
            exchange.request_id = self._new_id()
            self.in_flight += 1
            self._unmatched.begun()
        respond_error(connection, exchange, error, self._now())

    def finished(self, exchange: Exchange, now: float) -> None:
        """7 close: count and log."""
        duration = now - exchange.started_at
        exchange.ended_at = now
        overhead = exchange.overhead_s + duration
        exchange.overhead_s = overhead if overhead > 0.0 else 0.0
        if exchange.status == 0 or exchange.reason == "client_closed":
            exchange.status = 499
        stats = exchange.stats if isinstance(exchange, Call) else None
        self.in_flight -= 1
        (stats or self._unmatched).ended(exchange, duration)
        if self.log is not None:
            self.log(exchange)


def is_covered(host: str, names: frozenset[str]) -> bool:
    """Whether a certificate with `names` is good for `host` (RFC 6125: `*` stands for one label)."""
    return host in names or f"*.{host.partition('.')[2]}" in names
