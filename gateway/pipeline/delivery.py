"""One request to an upstream, in one or more attempts, whoever asks: a client (Forward) or the gateway itself (Fetch).

    a time left   b pick a target   c permit   d lease   e send   f report   g judge: done | again | give up

An Attempt is one try at one target; it is told of the connection and of the answer, and tells the Delivery.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from gateway.core.errors import GatewayError
from gateway.core.exchange import UpstreamFacts
from gateway.decide.resilience.queue_settings import DEFAULT
from gateway.pipeline.attempt import Attempt
from gateway.transport.client import UpstreamConnection
from gateway.transport.sink import Sink
from gateway.upstreams.gate import Gate, Permit
from gateway.upstreams.target import Target
from gateway.upstreams.upstream import Upstream
from gateway.wire.fields import Fields
from gateway.wire.head import ResponseHead

ATTEMPTS: Final = 2
"""Tries in all, as long as nothing was sent (connect failures)."""
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Safe to repeat (RFC 9110 section 9.2.2)."""


class Delivery(Sink):
    """What all requests to upstreams have in common: attempts, and the judgement on each.

    It is a Sink: who wants the answer may leave, be slow, or be ready again.
    """

    __slots__ = (
        "_tried",
        "attempt",
        "exchange",
        "method",
        "now",
        "permit",
        "queue",
        "replayable",
        "timeout_s",
        "until",
        "upstream",
    )

    def __init__(
        self, upstream: Upstream, exchange: UpstreamFacts, method: str, timeout_s: float, now: Callable[[], float]
    ) -> None:
        """timeout_s: until the head of the answer, and between pieces of its body."""
        self.upstream = upstream
        self.exchange = exchange
        self.method = method
        self.timeout_s = timeout_s
        self.until = exchange.started_at + timeout_s
        self.now = now
        self.attempt: Attempt | None = None
        self.queue = DEFAULT
        """Where it waits when the upstream is full."""
        self.permit: Permit | None = None
        """Its leave to be under way, or its place in the queue; None without a gate, before the first attempt, and
        once it is over."""
        self.replayable = True
        """Whether the whole request is still here and can be sent once more."""
        self._tried: list[Target] = []
        exchange.upstream = upstream.name

    def engage(self, key: str | None, now: float) -> None:
        """Pick a target and try it (a, b, c); `key` is for balancers that hash."""
        gate = self.upstream.gate
        if gate is not None and not self._may_begin(gate, now):
            return
        exchange = self.exchange
        try:
            if now >= self.until:
                raise GatewayError("upstream_timeout", f"no time was left of {self.timeout_s:g}s")
            target = self.upstream.pick(self._tried, key, now)
            circuit = self.upstream.circuit
            ticket = None if circuit is None else circuit.enter(now)
        except GatewayError as error:
            self._fail(error)
            return
        self._tried.append(target)
        exchange.attempts += 1
        exchange.target = target.key
        self.attempt = attempt = Attempt(self, target, self.upstream)
        attempt.ticket = ticket
        attempt.begin(now)

    # --- the permit ---------------------------------------------------------------------------------------------

    def _may_begin(self, gate: Gate, now: float) -> bool:
        """Whether the permit is held (c): asked for ahead of the first attempt, kept for all, ended once."""
        if self.permit is None:
            try:
                self.permit = gate.enter(self, self.queue, now, self.until)
            except GatewayError as error:
                self.give_up(error)
                return False
        return self.permit.held

    @property
    def is_queued(self) -> bool:
        return self.permit is not None and not self.permit.held

    def on_permit(self, now: float) -> None:
        assert self.permit is not None
        self.exchange.queue_s = now - self.permit.since
        self.again(now)

    def on_no_permit(self, error: GatewayError) -> None:
        permit, self.permit = self.permit, None
        if permit is not None:
            self.exchange.queue_s = self.now() - permit.since
        self.give_up(error)

    def end_permit(self) -> None:
        """It is over, or is no longer wanted: let the next one begin."""
        permit, self.permit = self.permit, None
        if permit is not None:
            permit.end()

    # --- the attempts -------------------------------------------------------------------------------------------

    def head_timeout_s(self, now: float) -> float:
        """How long a target may take with its head."""
        return min(self.upstream.settings.timeout.head_s, self.until - now)

    @abstractmethod
    def again(self, now: float) -> None:
        """Engage another target."""

    @abstractmethod
    def send_request(self, attempt: Attempt, connection: UpstreamConnection, now: float) -> None: ...

    @abstractmethod
    def on_interim(self, head: ResponseHead) -> None: ...

    @abstractmethod
    def on_head(self, head: ResponseHead, data: bytes, end: bool, now: float) -> None: ...

    @abstractmethod
    def on_data(self, data: bytes, end: bool, trailers: Fields | None, now: float) -> None: ...

    @abstractmethod
    def on_upgrade(self, attempt: Attempt, head: ResponseHead, data: bytes) -> None: ...

    @abstractmethod
    def on_tunnel_data(self, data: bytes) -> None: ...

    @abstractmethod
    def on_tunnel_end(self) -> None: ...

    @abstractmethod
    def on_target_slow(self) -> None: ...

    @abstractmethod
    def on_target_ready(self) -> None: ...

    @abstractmethod
    def cut(self, error: GatewayError) -> None:
        """The answer broke off behind its head."""

    @abstractmethod
    def give_up(self, error: GatewayError) -> None:
        """No answer came."""

    @property
    def upgraded(self) -> bool:
        return self.exchange.status == 101

    # --- judging ------------------------------------------------------------------------------------------------

    def on_failure(self, error: GatewayError, *, sent: bool, stale: bool) -> None:
        """An attempt failed (g). stale: on a connection that had served before, with no byte of an answer."""
        attempt, self.attempt = self.attempt, None
        exchange = self.exchange
        if exchange.status:
            self.end_permit()
            self.cut(error)
            return
        if self.replayable:
            if stale and (not sent or self.method in _IDEMPOTENT) and exchange.attempts <= ATTEMPTS:
                exchange.attempts += 1
                assert attempt is not None
                self.attempt = Attempt(self, attempt.target, self.upstream)
                self.attempt.begin(self.now(), fresh=True)
                return
            if not sent and exchange.attempts < ATTEMPTS and self._has_another():
                self.again(self.now())
                return
        self._fail(error)

    def _fail(self, error: GatewayError) -> None:
        if self.exchange.attempts > 1:
            self.upstream.count_retry("failed")
        self.end_permit()
        self.give_up(error)

    def _has_another(self) -> bool:
        return any(target not in self._tried for target in self.upstream.usable)

    # --- who wants the answer -----------------------------------------------------------------------------------

    def on_client_gone(self) -> None:
        """Free the upstream at once; who left is nobody's failure."""
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.cancel()
        self.end_permit()

    def on_client_slow(self) -> None:
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.pause_reading()

    def on_client_ready(self) -> None:
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.resume_reading()
