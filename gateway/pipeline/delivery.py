"""One request to an upstream, in one or more attempts, whoever asks: a client (Forward) or the gateway itself (Fetch).

    a time left   b pick a target   c permit   d lease   e send   f report   g judge: done | again | give up

An Attempt is one try at one target; it is told of the connection and of the answer, and tells the Delivery.
"""

import asyncio
import random
from abc import abstractmethod
from collections.abc import Callable
from math import inf

from gateway.core.errors import GatewayError
from gateway.core.exchange import UpstreamFacts
from gateway.decide.resilience.backoff import full_jitter_s
from gateway.decide.resilience.queue_settings import DEFAULT
from gateway.decide.resilience.retry import CONNECT, IDEMPOTENT, condition_of
from gateway.pipeline.attempt import Attempt
from gateway.transport.client import UpstreamConnection
from gateway.transport.sink import Sink
from gateway.upstreams.gate import Gate, Permit
from gateway.upstreams.target import Target
from gateway.upstreams.upstream import Upstream
from gateway.wire.fields import Fields
from gateway.wire.head import ResponseHead


class Delivery(Sink):
    """What all requests to upstreams have in common: attempts, and the judgement on each.

    It is a Sink: who wants the answer may leave, be slow, or be ready again.
    """

    __slots__ = (
        "_pause",
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
        self._pause: asyncio.TimerHandle | None = None
        """Ends the back-off before the next attempt."""
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
        if not self._tried:
            self.upstream.retries.count(now)
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
        head_s, left_s = self.upstream.settings.timeout.head_s, self.until - now
        return head_s if head_s < left_s else left_s

    def deadline_line(self, now: float) -> str:
        """What is left of the request's time, for the target; nothing where that has no limit."""
        if self.until == inf:
            return ""
        left_ms = int((self.until - now) * 1000.0)
        return f"X-Request-Timeout-Ms: {left_ms if left_ms > 0 else 1}\r\n"

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
        safe = self.replayable and (not sent or self.method in IDEMPOTENT)
        if stale and safe and exchange.attempts < 2 * len(self._tried):
            # Not the target's failure (RFC 9112 section 9.3.1): it is asked again, once, and this is no retry.
            exchange.attempts += 1
            assert attempt is not None
            self.attempt = Attempt(self, attempt.target, self.upstream)
            self.attempt.begin(self.now(), fresh=True)
        elif not self.retry(condition_of(error.reason.name, sent), self.now()):
            self._fail(error)

    def retry(self, condition: str, now: float) -> bool:
        """Have another target try, if that is wanted after a failure of this kind, safe, in time and in the budget.

        At once where nothing was sent, which costs the targets nothing; else within the budget, after a back-off.
        """
        upstream = self.upstream
        settings = upstream.settings.retry
        tries = len(self._tried)
        if condition not in settings.when or tries >= settings.attempts or not self._has_another():
            return False
        pause_s = 0.0 if condition == CONNECT else full_jitter_s(tries, settings.backoff_s, random.random)
        if now + pause_s >= self.until:
            return False
        if not self.replayable or (condition != CONNECT and self.method not in IDEMPOTENT):
            upstream.count_retry("denied_unsafe")
            return False
        if condition == CONNECT:
            self.again(now)
            return True
        if not upstream.retries.take(now):
            upstream.count_retry("denied_budget")
            return False
        self.attempt = None
        self._pause = asyncio.get_running_loop().call_later(pause_s, self._resume)
        return True

    def _resume(self) -> None:
        self._pause = None
        self.again(self.now())

    def count_outcome(self, status: int) -> None:
        """Note what came of the retries, if there were any."""
        if self.exchange.attempts > 1:
            self.upstream.count_retry("failed" if str(status) in self.upstream.settings.retry.when else "ok")

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
        self.stop_waiting()
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.cancel()
        self.end_permit()

    def stop_waiting(self) -> None:
        """No further attempt, if one was to come."""
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.cancel()

    def on_client_slow(self) -> None:
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.pause_reading()

    def on_client_ready(self) -> None:
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.resume_reading()
