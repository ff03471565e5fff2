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
from gateway.pipeline.race import Race
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
        "_retried",
        "_tried",
        "attempt",
        "exchange",
        "hash_key",
        "method",
        "now",
        "permit",
        "queue",
        "race",
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
        self.hash_key: str | None = None
        """For balancers that hash."""
        self.permit: Permit | None = None
        """Its leave to be under way, or its place in the queue; None without a gate, before the first attempt, during
        a back-off, and once it is over, which for an adaptive limit is with the head of the answer."""
        self.race: Race | None = None
        """Where the upstream hedges and this may be repeated, until its answer begins."""
        self.replayable = True
        """Whether the whole request is still here and can be sent once more."""
        self._tried: list[Target] = []
        self._retried = False
        self._pause: asyncio.TimerHandle | None = None
        """Ends the back-off before the next attempt."""
        exchange.upstream = upstream.name

    def engage(self, now: float) -> None:
        """Pick a target, the first or another, and try it (a, b, c)."""
        upstream = self.upstream
        gate = upstream.gate
        if gate is not None and not self._may_begin(gate, now):
            return
        if not self._tried:
            upstream.retries.count(now)
        try:
            if now >= self.until:
                raise GatewayError("upstream_timeout", f"no time was left of {self.timeout_s:g}s")
            self.attempt = attempt = self.next_attempt(now)
        except GatewayError as error:
            self._fail(error)
            return
        self.exchange.target = attempt.target.key
        attempt.begin(now)
        if upstream.hedge is not None and self.method in IDEMPOTENT:
            if self.race is None:
                self.race = Race(self, upstream.hedge)
            self.race.watch(attempt, now)

    def next_attempt(self, now: float) -> Attempt:
        """One at a target that was not tried yet, to be begun. Raises GatewayError."""
        target = self.upstream.pick(self._tried, self.hash_key, now)
        circuit = self.upstream.circuit
        ticket = None if circuit is None else circuit.enter(now)
        self._tried.append(target)
        self.exchange.attempts += 1
        return Attempt(self, target, self.upstream, ticket)

    # --- the permit ---------------------------------------------------------------------------------------------

    def _may_begin(self, gate: Gate, now: float) -> bool:
        """Whether the permit is held (c): asked for ahead of the first attempt, kept for all, ended once."""
        if self.permit is None:
            try:
                self.permit = gate.enter(self, self.queue, now, self.until)
            except GatewayError as error:
                self._fail(error)
                return False
        return self.permit.held

    @property
    def is_waiting(self) -> bool:
        """Whether an attempt comes by itself: with a permit, or at the end of a back-off."""
        return self._pause is not None or (self.permit is not None and not self.permit.held)

    def on_permit(self, now: float) -> None:
        assert self.permit is not None
        self.note_wait(now - self.permit.since)
        self.engage(now)

    def on_no_permit(self, error: GatewayError) -> None:
        permit, self.permit = self.permit, None
        if permit is not None:
            self.note_wait(self.now() - permit.since)
        self._fail(error)

    def note_wait(self, waited_s: float) -> None:
        """It waited for so long, for its turn or for a free connection."""
        self.exchange.queue_s = (self.exchange.queue_s or 0.0) + waited_s

    def end_permit(self) -> None:
        """It is over, or is no longer wanted: let the next one begin."""
        permit, self.permit = self.permit, None
        if permit is not None:
            if not permit.held:
                self.note_wait(self.now() - permit.since)
            permit.end()

    def on_answer_begun(self) -> None:
        """The head came, and more is to come: for how long says nothing of what the upstream can take."""
        if self.permit is not None and self.permit.until_head:
            self.end_permit()

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

    @property
    def is_repeatable(self) -> bool:
        """Whether the whole request can be sent to two targets at once."""
        return self.replayable

    @abstractmethod
    def send_request(self, attempt: Attempt, connection: UpstreamConnection, now: float) -> None: ...

    @abstractmethod
    def on_interim(self, head: ResponseHead) -> None: ...

    @abstractmethod
    def on_head(self, head: ResponseHead, data: bytes, end: bool, now: float) -> None: ...

    @abstractmethod
    def on_data(self, data: bytes, end: bool, trailers: Fields | None, now: float) -> None: ...

    def takes_upgrade(self, head: ResponseHead) -> bool:
        """Whether a 101 with this head is what was asked for."""
        return False

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

    def wants(self, attempt: Attempt, status: int, now: float) -> bool:
        """Whether the answer of `attempt` is to be passed on (g); else another one is to come."""
        race = self.race
        if race is not None and not race.is_decided(attempt, status, now):
            return False
        retried = status >= 502 and self.retry(str(status), now)
        if race is not None and not retried:
            race.settle(attempt)
            self.race = None
        elif race is not None:
            race.settle(None)
        return not retried

    def may_ask_again(self, sent: bool) -> bool:
        """Whether a target that closed a connection which had served before may be asked once more, on a fresh one.

        This is not its failure (RFC 9112 section 9.3.1), and no retry.
        """
        exchange = self.exchange
        return not exchange.status and self._is_safe(sent) and exchange.attempts < 2 * len(self._tried)

    def ask_again(self, attempt: Attempt) -> None:
        self.exchange.attempts += 1
        again = Attempt(self, attempt.target, self.upstream, attempt.ticket)
        if self.race is not None:
            self.race.replace(attempt, again)
        if attempt is self.attempt:
            self.attempt = again
        again.begin(self.now(), fresh=True)

    def on_failure(self, attempt: Attempt, error: GatewayError, *, sent: bool) -> None:
        """An attempt failed (g)."""
        now = self.now()
        if self.race is not None and self.race.goes_on_without(attempt, now):
            return
        self.attempt = None
        if self.exchange.status:
            self.end_permit()
            self.cut(error)
        elif not self.retry(condition_of(error.reason.name, sent), now):
            self._fail(error)

    def _is_safe(self, sent: bool) -> bool:
        return self.replayable and (not sent or self.method in IDEMPOTENT)

    def retry(self, condition: str, now: float) -> bool:
        """Have another target try, if that is wanted after a failure of this kind, safe, in time and in the budget.

        At once where nothing was sent, which costs the targets nothing; else within the budget, after a back-off.
        """
        upstream = self.upstream
        settings = upstream.settings.retry
        tries = len(self._tried)
        if condition not in settings.when or tries >= settings.attempts or not self.has_another():
            return False
        pause_s = 0.0 if condition == CONNECT else full_jitter_s(tries, settings.backoff_s, random.random)
        if now + pause_s >= self.until:
            return False
        if not self._is_safe(condition != CONNECT):
            upstream.count_retry("denied_unsafe")
            return False
        if condition == CONNECT:
            self._retried = True
            self.engage(now)
            return True
        if not upstream.retries.take(now):
            upstream.count_retry("denied_budget")
            return False
        self._retried = True
        self.attempt = None
        self.end_permit()
        self._pause = upstream.call_later(pause_s, self._resume)
        return True

    def _resume(self) -> None:
        self._pause = None
        self.engage(self.now())

    def count_outcome(self, status: int) -> None:
        """Note what came of the retries, if there were any."""
        if self._retried:
            self.upstream.count_retry("failed" if status >= 500 else "ok")

    def _fail(self, error: GatewayError) -> None:
        self.race = None
        if self._retried:
            self.upstream.count_retry("failed")
        self.end_permit()
        self.give_up(error)

    def has_another(self) -> bool:
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
        """No further attempt, if one was to come, and none beside the first."""
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.cancel()
        race, self.race = self.race, None
        if race is not None:
            race.stop(self.now())

    def on_client_slow(self) -> None:
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.pause_reading()

    def on_client_ready(self) -> None:
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.resume_reading()
