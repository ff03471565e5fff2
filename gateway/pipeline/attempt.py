"""One try at one target: a lease, a request, an answer; it ends exactly once."""

from math import inf
from typing import TYPE_CHECKING

from gateway.core.errors import GatewayError
from gateway.decide.resilience.breaker import FAILED, IGNORED, OK, Outcome, Ticket
from gateway.transport.client import UpstreamConnection
from gateway.transport.connections import Waiting
from gateway.transport.user import User
from gateway.upstreams.target import Target
from gateway.upstreams.upstream import Upstream
from gateway.wire.fields import Fields
from gateway.wire.head import ResponseHead

if TYPE_CHECKING:
    from gateway.pipeline.delivery import Delivery


class Attempt(User):
    """Told of its connection and of the answer; holds its place in the target's load until the answer's end."""

    __slots__ = (
        "_began_at",
        "_head_seen",
        "_sent_at",
        "_waiting",
        "connection",
        "owner",
        "target",
        "ticket",
        "upstream",
    )

    def __init__(self, owner: "Delivery", target: Target, upstream: Upstream, ticket: Ticket | None) -> None:
        self.owner = owner
        self.target = target
        self.upstream = upstream
        self.connection: UpstreamConnection | None = None
        self.ticket = ticket
        """Of the circuit, where there is one, until the attempt was judged."""
        self._waiting: Waiting | None = None
        self._head_seen = False
        self._began_at = self._sent_at = 0.0

    def begin(self, now: float, *, fresh: bool = False) -> None:
        """Take a place in the target's load and lease a connection; fresh: none of the idle ones."""
        self.target.in_flight += 1
        connection = None if fresh else self.target.connections.lease()
        if connection is not None:
            self.connection = connection
            self._sent_at = now
            self.owner.send_request(self, connection, now)
        else:
            self._began_at = now
            until = self.owner.until
            self._waiting = self.target.connections.wait(self, until)

    @property
    def since(self) -> float:
        """When the request went out; before that, when the wait for a connection began."""
        return self._sent_at or self._began_at

    def on_connection(self, connection: UpstreamConnection) -> None:
        now = self.owner.now()
        self._waiting = None
        self._note_wait(connection, now - self._began_at)
        self.connection = connection
        self._sent_at = now
        self.owner.send_request(self, connection, now)

    def _note_wait(self, connection: UpstreamConnection, waited_s: float) -> None:
        owner = self.owner
        if connection.served:
            owner.note_wait(waited_s)
        else:
            owner.exchange.connect_s = connection.connect_s
            owner.note_wait(max(waited_s - connection.connect_s, 0.0))
            self.upstream.connect.observe(connection.connect_s)

    def _stop_waiting(self) -> None:
        """No connection came. The time is the gateway's own where one had to become free, else that of the dial."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.leave()
            if not waiting.dialled:
                now = self.owner.now()
                self.owner.note_wait(now - self._began_at)
                self._began_at = now

    def on_no_connection(self, error: GatewayError) -> None:
        self._stop_waiting()
        self._end_failed(error.reason.name, by_target=error.reason.by_target)
        self.owner.on_failure(self, error, sent=False)

    def send_data(self, data: bytes, end: bool) -> None:
        if self.connection is not None:
            self.connection.send_data(data, end)

    # --- the answer ---------------------------------------------------------------------------------------------

    def on_interim(self, head: ResponseHead) -> None:
        race = self.owner.race
        if race is None or race.rival is None:  # of two attempts, none may say something that the other one does not
            self.owner.on_interim(head)

    def on_head(self, head: ResponseHead, data: bytes, end: bool, now: float) -> None:
        self._head_seen = True
        owner = self.owner
        owner.exchange.ttfb_s = ttfb = now - self._sent_at
        self.target.count_answer(head.status)
        report = self.upstream.report
        if report is not None:
            report(self.target, ttfb, head.status < 500, now)
        if self.ticket is not None:
            self._judge(OK if head.status < 500 else FAILED, now)
        wanted = (head.status < 502 and owner.race is None) or owner.wants(self, head.status, now)
        if end or not wanted:
            connection, self.connection = self.connection, None
            self._end_ok(now)
            if not wanted:
                if not end and connection is not None:
                    connection.cancel()
                return
        else:
            owner.on_answer_begun()
            if self.connection is not None:
                idle = self.upstream.settings.timeout.idle_s
                self.connection.expect_progress(min(inf if idle is None else idle, owner.timeout_s), now)
        owner.on_head(head, data, end, now)

    def on_data(self, data: bytes, end: bool, trailers: Fields | None, now: float) -> None:
        if end:
            self.connection = None
            self._end_ok(now)
        elif self.owner.upgraded:
            self.owner.on_tunnel_data(data)
            return
        self.owner.on_data(data, end, trailers, now)

    def on_upgrade(self, head: ResponseHead, data: bytes) -> None:
        owner, now = self.owner, self.owner.now()
        owner.exchange.ttfb_s = ttfb = now - self._sent_at
        self.target.count_answer(101)
        if not owner.takes_upgrade(head):
            self.fail("upstream_protocol", "the upstream switched to a protocol that was not asked for")
            return
        self._head_seen = True
        report = self.upstream.report
        if report is not None:
            report(self.target, ttfb, True, now)
        self._judge(OK, now)
        owner.on_answer_begun()
        idle = self.upstream.settings.timeout.idle_s
        if self.connection is not None:
            self.connection.expect_progress(inf if idle is None else idle, now)
        owner.on_upgrade(self, head, data)

    def on_tunnel_end(self) -> None:
        self.connection = None
        self._end_ok(self.owner.now())
        self.owner.on_tunnel_end()

    def on_failure(self, reason: str, detail: str, sent: bool) -> None:
        connection, self.connection = self.connection, None
        stale = reason == "upstream_reset" and connection is not None and connection.served > 1 and not self._head_seen
        if stale and self.owner.may_ask_again(sent):
            self._leave(self.owner.now())
            self.owner.ask_again(self)
            return
        self._end_failed(reason)
        self.owner.on_failure(self, GatewayError(reason, f"{self._name}: {detail}"), sent=sent)

    def fail(self, reason: str, detail: str) -> None:
        """The answer cannot be used: close its connection and fail."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.cancel()
        self._end_failed(reason)
        self.owner.on_failure(self, GatewayError(reason, f"{self._name}: {detail}"), sent=True)

    @property
    def _name(self) -> str:
        return f"target {self.target.key} of {self.upstream.name}"

    def on_target_slow(self) -> None:
        self.owner.on_target_slow()

    def on_target_ready(self) -> None:
        self.owner.on_target_ready()

    # --- ends ---------------------------------------------------------------------------------------------------

    def _leave(self, now: float) -> float:
        """Give back the place in the target's load; how long (s) the target had the request, or the dial took."""
        taken = now - self.since
        self.target.in_flight -= 1
        self.owner.exchange.overhead_s -= taken
        return taken

    def _end_ok(self, now: float) -> None:
        taken = now - self._sent_at  # as _leave does; written out since it happens to each request
        self.target.in_flight -= 1
        self.owner.exchange.overhead_s -= taken
        self.upstream.duration.observe(taken)

    def _end_failed(self, reason: str, *, by_target: bool = True) -> None:
        now = self.owner.now()
        taken = self._leave(now)
        self._judge(FAILED if by_target else IGNORED, now)
        if not by_target:
            return
        self.target.count_error(reason)
        report = self.upstream.report
        if report is not None:
            # Behind the head the time is that of the body, or of a stream: no latency.
            report(self.target, 0.0 if self._head_seen else taken, False, now)

    def expire(self) -> str:
        """The time of the whole is up: free the connection. The reason; the target's failure if it was its turn."""
        dialling = self._waiting is not None and self._waiting.dialled
        reason = "connect_timeout" if dialling else "upstream_timeout"
        self._give_back()
        self._end_failed(reason, by_target=dialling or self._sent_at > 0.0)
        return reason

    def cancel(self) -> None:
        """The client is gone, or another attempt was faster: free the connection; nobody's failure."""
        now = self.owner.now()
        self._judge(IGNORED, now)
        self._give_back()
        self._leave(now)

    def _judge(self, outcome: Outcome, now: float) -> None:
        """Tell the circuit what came of the attempt, the first time."""
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            ticket.end(outcome, now)

    def _give_back(self) -> None:
        self._stop_waiting()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.cancel()
