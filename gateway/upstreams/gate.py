"""The gate in front of an upstream: so many requests at once, the others wait their turn or are refused."""

from collections.abc import Sequence
from math import inf
from typing import Final, Protocol

from gateway.core.errors import GatewayError
from gateway.decide.resilience.concurrency import Limiter
from gateway.decide.resilience.line import Place
from gateway.decide.resilience.queue import Queue
from gateway.decide.resilience.queue_settings import DEFAULT, QueueSettings
from gateway.observe.registry import Registry
from gateway.transport.deadlines import Deadlines
from gateway.transport.outgoing import Outbox

REFUSALS: Final = 2
"""In one turn of the loop: 0.07 ms, for which an answer that makes room may have to wait."""


class Waiter(Protocol):
    """Who wants a permit; exactly one of the two is called for a permit that was not held at once."""

    def on_permit(self, now: float) -> None: ...
    def on_no_permit(self, error: GatewayError) -> None: ...


class Permit:
    """One request's leave to be under way, or its place in the queue. `end` may be called again and does nothing."""

    __slots__ = ("_gate", "_place", "held", "since", "waiter")

    def __init__(self, gate: "Gate", waiter: Waiter, since: float) -> None:
        self._gate = gate
        self._place: Place[Permit] | None = None
        self.waiter = waiter
        self.since = since
        self.held = False

    @property
    def until_head(self) -> bool:
        """Whether it is to end with the head of the answer."""
        return self._gate.limiter.until_head

    def end(self) -> None:
        """The request is over, or no longer wants to wait."""
        place, self._place = self._place, None
        if self.held:
            self.held = False
            self._gate.freed()
        elif place is not None:
            self._gate.left(place)


class Gate:
    """Permits of one upstream, in one worker."""

    def __init__(
        self,
        name: str,
        *,
        limiter: Limiter,
        queues: Sequence[QueueSettings],
        deadlines: Deadlines,
        outbox: Outbox,
        registry: Registry,
    ) -> None:
        self.name = name
        self.limiter = limiter
        self.in_flight = 0
        self.deadline = self.armed = inf
        self._queue: Queue[Permit] = Queue(queues)
        self._deadlines = deadlines
        self._outbox = outbox
        self._is_due = self._is_refusing = False
        self._registry = registry
        self._cells = registry.cells
        self._meters = {each.name: _Meter(registry, each.name) for each in queues}
        self._limit = registry.gauge("gateway_concurrency_limit", upstream=name)

    def enter(self, waiter: Waiter, queue: str, now: float, until: float) -> Permit:
        """A permit that is held, or one that waits in `queue` until `until` at the latest.

        Raises GatewayError queue_full, or concurrency_limited where the queue takes nobody.
        """
        if queue not in self._queue.lines:  # a class of a config that served before
            queue = DEFAULT
        permit = Permit(self, waiter, now)
        if self._queue:
            self._refuse_soon()
        if self.in_flight < self.limiter.limit and not self._queue:
            self.in_flight += 1
            permit.held = True
            self._queue.passed(queue, now)
            return permit
        place, out = self._queue.put(permit, queue, now, until)
        if place is None:
            error = self._full(queue, now)
            if error.reason.name != "concurrency_limited":  # that is where there is no queue
                self._meters[queue].refused(error.reason.name)
            raise error
        permit._place = place
        self._meters[queue].change(1.0)
        if out is not None:
            self._refuse_one(out, self._full(queue, now))
        self._arm(place.deadline)
        return permit

    @property
    def waiting(self) -> int:
        """How many are in the queue."""
        return len(self._queue)

    def freed(self) -> None:
        """One that was under way ended: whose turn it is begins when what was read is dealt with."""
        self.in_flight -= 1
        if self._queue:
            self._soon()

    def left(self, place: Place[Permit]) -> None:
        """One that waited went away."""
        self._queue.remove(place, self._deadlines.clock())
        self._meters[place.line.settings.name].change(-1.0)

    def on_answer(self, latency_s: float, ok: bool, now: float) -> None:
        """An attempt ended; to be told of each."""
        self.limiter.on_answer(latency_s, ok, self.in_flight, now)
        if self._queue and self.in_flight < self.limiter.limit:
            self._soon()

    def on_deadline(self, now: float) -> None:
        self._refuse_soon()
        self._arm(self._queue.next_deadline)

    def facts(self) -> dict[str, object]:
        """The limit, how many are under way, and of each queue in which somebody waits: how many, and since when."""
        waiting = {
            name: (len(line.places), next(iter(line.places)).since)
            for name, line in self._queue.lines.items()
            if line.places
        }
        return {"limit": self.limiter.limit, "in_flight": self.in_flight, "queues": waiting}

    def limit_by(self, limiter: Limiter) -> None:
        """Another limit, also for those that are under way."""
        self.limiter = limiter
        if self._queue:
            self._soon()

    def queue_in(self, queues: Sequence[QueueSettings]) -> None:
        """Other classes; who waits waits on."""
        self._queue.change(queues)
        for each in queues:
            self._meters.setdefault(each.name, _Meter(self._registry, each.name))
        self._arm(self._queue.next_deadline)

    def flush(self) -> None:
        """Write the gauge."""
        self._cells[self._limit] = float(self.limiter.limit)

    def clear(self) -> None:
        """The upstream has it no more: no limit is shown."""
        self._cells[self._limit] = 0.0

    def _soon(self) -> None:
        # Not at once: the connection that became free is given back after its answer was passed on.
        if not self._is_due:
            self._is_due = True
            self._outbox.ahead(self._admit)

    def _admit(self) -> None:
        self._is_due = False
        now = self._deadlines.clock()
        while self.in_flight < self.limiter.limit:
            place = self._queue.take(now)
            if place is None:
                break
            self.in_flight += 1
            permit = place.who
            permit._place, permit.held = None, True
            self._meters[place.line.settings.name].served(now - place.since)
            permit.waiter.on_permit(now)

    def _refuse_soon(self) -> None:
        # Behind what is to be written: the upstream must not wait for that.
        if not self._is_refusing:
            self._is_refusing = True
            self._outbox.behind(self._refuse)

    def _refuse(self) -> None:
        """Refuse those that are overdue, a few in each turn of the loop."""
        self._is_refusing = False
        now = self._deadlines.clock()
        overdue = self._queue.overdue(now, REFUSALS)
        for place in overdue:
            self._refuse_one(place, self._late(place, now))
        if len(overdue) == REFUSALS:
            self._refuse_soon()

    def _refuse_one(self, place: Place[Permit], error: GatewayError) -> None:
        meter = self._meters[place.line.settings.name]
        meter.change(-1.0)
        meter.refused(error.reason.name)
        permit = place.who
        permit._place = None
        permit.waiter.on_no_permit(error)

    def _late(self, place: Place[Permit], now: float) -> GatewayError:
        name = place.line.settings.name
        waited = f"waited {now - place.since:.3f}s for its turn"
        if place.is_shed(now):
            return self._error("shed_overload", f"{waited}, and the queue {name} stands too long to wait on", name, now)
        return self._error("queue_timeout", waited, name, now)

    def _full(self, queue: str, now: float) -> GatewayError:
        settings = self._queue.lines[queue].settings
        if not settings.max:
            return self._error("concurrency_limited", f"{self.limiter.limit} requests are under way", queue, now)
        return self._error("queue_full", f"{settings.max} requests wait in the queue {queue}", queue, now)

    def _error(self, reason: str, detail: str, queue: str, now: float) -> GatewayError:
        after = self._queue.retry_after_s(queue, now)
        return GatewayError(reason, f"upstream {self.name}: {detail}", retry_after_s=after)

    def _arm(self, deadline: float) -> None:
        if deadline < self.deadline:
            self.deadline = deadline
            if deadline < self.armed:
                self._deadlines.arm(self)

    def __repr__(self) -> str:
        return f"<Gate {self.name} {self.in_flight} of {self.limiter.limit}, {len(self._queue)} wait>"


class _Meter:
    """The metrics of one queue, over all upstreams."""

    def __init__(self, registry: Registry, queue: str) -> None:
        self._registry = registry
        self._queue = queue
        self._depth = registry.gauge("gateway_queue_depth", queue=queue)
        self._wait = registry.histogram("gateway_queue_wait_seconds", queue=queue)
        self._rejected: dict[str, int] = {}

    def change(self, by: float) -> None:
        self._registry.cells[self._depth] += by

    def served(self, waited_s: float) -> None:
        self.change(-1.0)
        self._wait.observe(waited_s)

    def refused(self, reason: str) -> None:
        cell = self._rejected.get(reason)
        if cell is None:
            cell = self._rejected[reason] = self._registry.counter(
                "gateway_queue_rejected_total", queue=self._queue, reason=reason
            )
        self._registry.cells[cell] += 1.0
