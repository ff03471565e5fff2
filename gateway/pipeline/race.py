"""Two attempts at one request: where the first is slow a second goes to another target, and the first head decides."""

import asyncio
from typing import TYPE_CHECKING

from gateway.decide.resilience.hedge import Delay
from gateway.pipeline.attempt import Attempt
from gateway.upstreams.gate import Permit

if TYPE_CHECKING:
    from gateway.pipeline.delivery import Delivery


class Race:
    """The hedge of one Delivery, if it comes to that: at most one, counted exactly once as won or lost.

    While both are under way, `Delivery.attempt` is the first and `rival` the hedge; then `Delivery.attempt` is the one
    that goes on. The other ends as nobody's failure, unless it failed by itself.
    """

    __slots__ = ("_delay", "_delivery", "_hedge", "_permit", "_since", "_timer", "_watched", "rival")

    def __init__(self, delivery: "Delivery", delay: Delay) -> None:
        self._delivery = delivery
        self._delay = delay
        self._timer: asyncio.TimerHandle | None = None
        self._watched: Attempt | None = None
        """The last one that began alone: what its answer takes decides when others are hedged."""
        self._since = 0.0
        self._hedge: Attempt | None = None
        """Until it is counted."""
        self._permit: Permit | None = None
        """The hedge's own, while both are under way."""
        self.rival: Attempt | None = None

    def watch(self, attempt: Attempt, now: float) -> None:
        """`attempt` began, alone: hedge it if its answer does not begin in time."""
        self._watched = attempt
        self._since = now
        after_s = self._delay.after_s(now)
        delivery = self._delivery
        if after_s is not None and now + after_s < delivery.until and not delivery.exchange.hedged:
            self._timer = delivery.upstream.call_later(after_s, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        delivery, now = self._delivery, self._delivery.now()
        if self._may_begin(now):
            gate = delivery.upstream.gate
            if gate is not None:
                self._permit = gate.enter(delivery, delivery.queue, now, delivery.until)
            delivery.exchange.hedged = True
            self._hedge = self.rival = rival = delivery.next_attempt(now)
            rival.begin(now)

    def _may_begin(self, now: float) -> bool:
        """Whether a second one is safe, in time and in the budget, and takes nothing that others wait for."""
        delivery, upstream = self._delivery, self._delivery.upstream
        gate, circuit = upstream.gate, upstream.circuit
        if now >= delivery.until or not delivery.is_repeatable or not delivery.has_another():
            return False
        if gate is not None and (gate.waiting or gate.in_flight >= gate.limiter.limit):
            return False
        if circuit is not None and not circuit.is_closed:
            return False  # trials are few
        return upstream.retries.take(now)

    # --- what comes of it ---------------------------------------------------------------------------------------

    def is_decided(self, attempt: Attempt, status: int, now: float) -> bool:
        """Whether the head that `attempt` has got counts; then the other one, if there is one, ends.

        A status that is to be tried again does not count while the other is under way.
        """
        self._stop_timer()
        if attempt is self._watched:
            self._delay.note(now - self._since, now)
        if self.rival is None:
            return True
        if status >= 502 and str(status) in self._delivery.upstream.settings.retry.when:
            self.goes_on_without(attempt, now)
            return False
        other = self._delivery.attempt if attempt is self.rival else self.rival
        assert other is not None
        if other is self._watched:
            self._delay.note(now - self._since, now)
        self._leave(other, now)
        other.cancel()
        return True

    def goes_on_without(self, attempt: Attempt, now: float) -> bool:
        """`attempt` came to nothing: whether the other one is under way, and may still come to something."""
        self._stop_timer()
        goes_on = self.rival is not None
        if goes_on:
            self._leave(attempt, now)
        if attempt is self._hedge:
            self.settle(None)
        return goes_on

    def replace(self, attempt: Attempt, again: Attempt) -> None:
        """The same target is asked again, on a fresh connection."""
        if attempt is self._watched:
            self._watched = again
        if attempt is self._hedge:
            self._hedge = again
        if attempt is self.rival:
            self.rival = again

    def stop(self, now: float) -> None:
        """Nobody wants the answer any more."""
        self._stop_timer()
        rival = self.rival
        if rival is not None:
            self._leave(rival, now)
            rival.cancel()
        self.settle(None)

    def settle(self, used: Attempt | None) -> None:
        """Count the hedge; `used` is the attempt whose answer is passed on."""
        hedge, self._hedge = self._hedge, None
        if hedge is not None:
            self._delivery.upstream.count_hedge("won" if hedge is used else "lost")

    def _leave(self, attempt: Attempt, now: float) -> None:
        """Of the two under way `attempt` ends: the other one goes on alone."""
        delivery, first, rival = self._delivery, self._delivery.attempt, self.rival
        assert first is not None
        assert rival is not None
        self.rival = None
        delivery.attempt = stays = first if attempt is rival else rival
        delivery.exchange.target = stays.target.key
        # The time of both is taken off by each.
        delivery.exchange.overhead_s += now - max(first.since, rival.since)
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.end()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def __repr__(self) -> str:
        return f"<Race of {self._delivery!r}{' under way' if self.rival else ''}>"
