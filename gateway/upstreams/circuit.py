"""The circuit of one upstream: whether requests may go there, said in the log and shown in the metrics."""

import logging

from gateway.core.errors import GatewayError
from gateway.decide.resilience.breaker import CLOSED, HALF_OPEN, OPEN, STATES, TRIALS, Breaker, BreakerSettings, Ticket
from gateway.observe.registry import Registry

_log = logging.getLogger(__name__)


class Circuit:
    """A Breaker whose changes are noted, at the latest with the next flush of the metrics."""

    def __init__(self, upstream: str, settings: BreakerSettings, registry: Registry) -> None:
        self._upstream = upstream
        self._breaker = Breaker(settings)
        self._said = CLOSED
        self._registry = registry
        self._gauges = [registry.gauge("gateway_circuit_state", upstream=upstream, state=state) for state in STATES]

    def enter(self, now: float) -> Ticket:
        """Leave for one attempt, to be ended. Raises GatewayError circuit_open."""
        ticket = self._breaker.admit(now)
        if self._breaker.state != self._said:
            self._say()
        if ticket is None:
            why = f"upstream {self._upstream} fails: {self._breaker.detail}"
            raise GatewayError("circuit_open", why, retry_after_s=self._breaker.retry_after_s(now))
        return ticket

    def facts(self) -> dict[str, object]:
        """State, since when, why it is not closed, and when a request may try; times are monotonic."""
        breaker = self._breaker
        found: dict[str, object] = {"state": breaker.state, "since": breaker.since}
        if breaker.state == OPEN:
            found |= {"why": breaker.detail, "retry_at": breaker.retry_at}
        elif breaker.state == HALF_OPEN:
            found["why"] = f"{breaker.detail}; {breaker.passed} of {TRIALS} trials went well"
        return found

    @property
    def is_closed(self) -> bool:
        return self._breaker.state == CLOSED

    def flush(self) -> None:
        """Write the gauges."""
        state = self._breaker.state
        if state != self._said:
            self._say()
        for gauge, each in zip(self._gauges, STATES, strict=True):
            self._registry.cells[gauge] = float(state == each)

    def clear(self) -> None:
        """The upstream has it no more: no state is shown."""
        for gauge in self._gauges:
            self._registry.cells[gauge] = 0.0

    def _say(self) -> None:
        breaker = self._breaker
        self._said = breaker.state
        if breaker.state == OPEN:
            _log.warning(
                "upstream %s: circuit open for %gs: %s", self._upstream, breaker.settings.open_s, breaker.detail
            )
        else:
            _log.info("upstream %s: circuit %s", self._upstream, breaker.state.replace("_", "-"))

    def __repr__(self) -> str:
        return f"<Circuit {self._upstream} {self._breaker.state}>"
