"""One exchange of an aggregate.

A Run makes no task, no future and one timer: sources are Fetches that call back. A source begins when those that it
waits for have their values; the answer goes out when all have ended, at the deadline, or when a required one failed.
"""

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING, Final

from gateway.core.errors import GatewayError
from gateway.decide.aggregate.outcome import CANCELLED, DEPENDENCY, REFERENCE, STATUS, Outcome, report
from gateway.decide.aggregate.parts import BadAnswer, Part, digest, parse
from gateway.decide.aggregate.plan import SourcePlan
from gateway.decide.aggregate.references import MissingValue
from gateway.decide.aggregate.templates import Scope
from gateway.pipeline.aggregate_source import ClientLines, Source
from gateway.pipeline.aggregate_stream import AggregateStream, Pieces
from gateway.pipeline.respond import respond_error, send_whole
from gateway.pipeline.route import Call
from gateway.transport.sink import Sink

if TYPE_CHECKING:
    from gateway.pipeline.aggregate import Aggregate

_log = logging.getLogger(__name__)
LARGE: Final = 256 * 1024
"""Bytes that are parsed on the loop of all answers to one request: up to 3 ms. The rest is parsed elsewhere."""
EARLY_S: Final = 0.002
"""Timers of libuv count in whole milliseconds, from the beginning of the loop's turn."""


class Run(Sink):
    """The sources under way, their values and how they ended."""

    __slots__ = (
        "_aggregate",
        "_asked",
        "_began",
        "_due",
        "_held",
        "_late",
        "_lines",
        "_outcomes",
        "_over",
        "_parsed",
        "_pumping",
        "_ready",
        "_scope",
        "_sending",
        "_spoilt_by",
        "_stream",
        "_tasks",
        "_timer",
        "_timer_at",
        "_under_way",
        "_under_way_since",
        "_waits",
        "call",
        "now",
    )

    def __init__(self, aggregate: "Aggregate", call: Call, stream: AggregateStream | None) -> None:
        plan = aggregate.plan
        self.call = call
        self.now = aggregate.now
        self._aggregate = aggregate
        self._stream = stream
        self._sending: Pieces | None = stream
        """What goes out in pieces: a stream, or a large answer once it is made."""
        self._scope = Scope(call.match.params, {})
        self._outcomes: dict[str, Outcome] = {}
        self._asked: dict[int, Source] = {}
        """Sources whose answer is still to come."""
        self._began: dict[int, float] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        """Answers that are parsed elsewhere."""
        self._waits = [len(source.waits_for) for source in plan.sources]
        """For how many values each source still waits."""
        self._ready = list(reversed(plan.roots))
        self._pumping = False
        self._due = call.started_at + plan.deadline_s
        self._late = self._over = False
        self._spoilt_by: SourcePlan | None = None
        """The required source that failed."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._held = self._parsed = 0
        self._under_way = 0
        self._under_way_since = 0.0
        self._lines = ClientLines(call, plan.forward, aggregate.request_edit)

    @property
    def queue(self) -> str:
        """Where its requests wait for their turn."""
        return self._aggregate.queue

    def begin(self) -> None:
        now = self.now()
        self.call.connection.sink = self
        self._wake_at(self._due, now)
        self._pump()

    # --- asking -------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Begin what is ready; then see whether that was all. What ends meanwhile only adds to what is ready."""
        if self._pumping or self._over:
            return
        self._pumping = True
        while self._ready and self._spoilt_by is None:
            self._start(self._aggregate.plan.sources[self._ready.pop()])
        self._pumping = False
        if self._spoilt_by is not None:
            self._fail_whole(self._spoilt_by)
        elif len(self._outcomes) == len(self._waits):
            self._finish()

    def _start(self, plan: SourcePlan) -> None:
        now = self.now()
        self._began[plan.index] = now
        try:
            target = plan.request.path.render(self._scope)
            body, length = plan.request.body(self._scope)
            lines = f"{self._lines.without(plan.request.own_fields)}{plan.request.lines(self._scope)}{length}"
        except MissingValue as error:
            _log.debug("request %s: source %s: %s", self.call.request_id, plan.name, error)
            self.failed(plan, None, REFERENCE, now)
            return
        timeout_s = min(plan.timeout_s, self._due - now)
        if self._late or timeout_s <= 0.0:
            self.failed(plan, None, "upstream_timeout", now)
            return
        source = Source(
            self,
            plan,
            self._aggregate.upstreams[plan.index],
            target=target,
            lines=lines,
            body=body,
            timeout_s=timeout_s,
            now=now,
        )
        self._asked[plan.index] = source
        if not self._under_way:
            self._under_way_since = now
        self._under_way += 1
        if source.until < self._timer_at:
            self._wake_at(source.until, now)
        source.begin(now)

    # --- what comes of it ---------------------------------------------------------------------------------------

    def answered(self, plan: SourcePlan, status: int, body: bytes, now: float) -> None:
        """A source has its answer."""
        self._ended(plan, now)
        if not 200 <= status < 300:
            self._missed(plan, status, STATUS, now)
        elif status == 204:
            self._gained(plan, status, Part(b"null", None), now)
        elif self._parsed + len(body) > LARGE:
            self._tasks[plan.index] = self._aggregate.loop.create_task(self._parse_elsewhere(plan, status, body))
            return
        else:
            self._parsed += len(body)
            try:
                part = parse(body, plan.transform, plan.taken_apart)
            except BadAnswer as error:
                self._missed(plan, status, error.reason, now)
            else:
                self._gained(plan, status, part, now)
        self._pump()

    async def _parse_elsewhere(self, plan: SourcePlan, status: int, body: bytes) -> None:
        aggregate = self._aggregate
        part, reason = None, ""
        try:
            part = await aggregate.elsewhere.call(
                digest, body, plan.transform, plan.paths, aggregate.plan.flat, deadline=self._due, exchange=self.call
            )
            part.raw = part.raw or body
        except BadAnswer as error:
            reason = error.reason
        except GatewayError as error:
            reason = error.reason.name
        except Exception:
            _log.exception("request %s: source %s; please report it", self.call.request_id, plan.name)
            reason = "internal_error"
        self._tasks.pop(plan.index, None)
        if not self._over and plan.name not in self._outcomes:
            if part is not None:
                self._gained(plan, status, part, self.now())
            else:
                self._missed(plan, status, reason, self.now())
            self._pump()

    def failed(self, plan: SourcePlan, status: int | None, reason: str, now: float) -> None:
        """A source has no answer."""
        self._ended(plan, now)
        self._missed(plan, status, reason, now)
        self._pump()

    def _ended(self, plan: SourcePlan, now: float) -> None:
        source = self._asked.pop(plan.index, None)
        if source is not None:
            self.call.attempts += source.exchange.attempts
            self.call.hedged = self.call.hedged or source.exchange.hedged
            self._under_way -= 1
            if not self._under_way:
                self.call.overhead_s -= now - self._under_way_since

    def _note(self, plan: SourcePlan, status: int | None, reason: str | None, now: float) -> None:
        self._outcomes[plan.name] = Outcome(status, reason, now - self._began.get(plan.index, now))
        self._aggregate.counts.source(plan.name, reason)

    def _gained(self, plan: SourcePlan, status: int, part: Part, now: float) -> None:
        self._note(plan, status, None, now)
        self._use(plan, part)

    def _missed(self, plan: SourcePlan, status: int | None, reason: str, now: float) -> None:
        self._note(plan, status, reason, now)
        if plan.fallback is not None:
            self._use(plan, plan.fallback)
        elif plan.required:
            self._spoilt_by = self._spoilt_by or plan
        for index in plan.dependents if plan.fallback is None else ():
            dependent = self._aggregate.plan.sources[index]
            if dependent.name not in self._outcomes:
                self._missed(dependent, None, DEPENDENCY, now)

    def _use(self, plan: SourcePlan, part: Part) -> None:
        """A source has a value: those that waited for nothing else can begin."""
        self._scope.parts[plan.name] = part
        if self._stream is not None and self._spoilt_by is None:
            self._stream.arrived(plan.name, part.raw)
        for index in plan.dependents:
            self._waits[index] -= 1
            if not self._waits[index] and self._aggregate.plan.sources[index].name not in self._outcomes:
                self._ready.append(index)

    # --- time ---------------------------------------------------------------------------------------------------

    def _wake_at(self, due: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._aggregate.loop.call_later(max(due - now, 0.0), self._on_time)

    def _on_time(self) -> None:
        """End the sources whose time is up; at the deadline all of them."""
        self._timer = None
        now = self.now()
        edge = now + EARLY_S
        self._late = edge >= self._due
        self._pumping = True
        for source in list(self._asked.values()):
            if self._late or source.until <= edge:
                source.expire()
        if self._late:
            for index, task in list(self._tasks.items()):
                task.cancel()
                self._missed(self._aggregate.plan.sources[index], None, "executor_timeout", now)
            self._tasks.clear()
        self._pumping = False
        self._pump()
        if not self._over:
            self._wake_at(min([self._due, *[source.until for source in self._asked.values()]]), now)

    # --- the answer ---------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        missing = report(self._outcomes)
        self._aggregate.counts.response("full" if missing is None else "partial")
        if self._stream is not None:
            self._close()
            self._stream.end(missing)
            self._release()
            return
        try:
            pieces = self._aggregate.plan.merge.pieces(self._scope, missing)
        except Exception:
            _log.exception("request %s: internal error; please report it", self.call.request_id)
            self._close()
            self._release()
            error = GatewayError("internal_error", "the gateway failed; its log says more")
            respond_error(self.call.connection, self.call, error, self.now())
            return
        self._close()
        self._send(self._aggregate.head_lines(complete=missing is None), pieces)
        self._release()

    def _send(self, lines: str, pieces: list[bytes]) -> None:
        size = sum(map(len, pieces))
        if size <= LARGE or self.call.method == "HEAD":
            send_whole(self.call.connection, self.call, 200, lines, b"".join(pieces), self.now())
        else:
            self._sending = Pieces(self.call, f"{lines}Content-Length: {size}\r\n", size, self.now)
            self._sending.add(pieces, last=True)

    def _fail_whole(self, plan: SourcePlan) -> None:
        """A required source failed: there is no answer to give, and no need of the others."""
        cause = self._cause(plan)
        outcome = self._outcomes[cause.name]
        detail = f"the required source {plan.name} failed: "
        detail += str(outcome) if cause is plan else f"it waits for {cause.name}, which failed: {outcome}"
        error = GatewayError("aggregate_required_failed", detail, status=504 if outcome.is_late else 502)
        self._withdraw()
        self._aggregate.counts.response("failed")
        missing = report(self._outcomes)
        self._close()
        if self._stream is not None:
            self._stream.fail(error, missing)
        else:
            respond_error(self.call.connection, self.call, error, self.now())
        self._release()

    def _cause(self, plan: SourcePlan) -> SourcePlan:
        """The first failure in the chain that made a source fail."""
        by_name = {source.name: source for source in self._aggregate.plan.sources}
        while self._outcomes[plan.name].reason == DEPENDENCY:
            failed = [name for name in plan.waits_for if name in self._outcomes and name not in self._scope.parts]
            plan = by_name[failed[0]]
        return plan

    def _withdraw(self) -> None:
        """End what is under way; nobody's failure."""
        now = self.now()
        for source in list(self._asked.values()):
            source.on_client_gone()
            self._ended(source.plan, now)
            self._note(source.plan, None, CANCELLED, now)
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        for plan in self._aggregate.plan.sources:
            if plan.name not in self._outcomes:
                self._note(plan, None, CANCELLED, now)

    def _close(self) -> None:
        """No source is asked any more."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        outcomes = self._outcomes
        self.call.sources = {source.name: outcomes[source.name].as_json() for source in self._aggregate.plan.sources}
        self._scope.parts.clear()

    def _release(self) -> None:
        """Of the answers nothing is held any more but what waits for a client that is slow."""
        self.hold((0 if self._sending is None else self._sending.size) - self._held)

    # --- the client ---------------------------------------------------------------------------------------------

    def hold(self, size: int) -> None:
        """More (bytes) of an answer is kept, or, below 0, less."""
        self._held += size
        self.call.connection.listener.buffered.add(size)

    @property
    def is_full(self) -> bool:
        return self.call.connection.listener.buffered.full

    def on_request_data(self, data: bytes, end: bool) -> None:
        """Sources do not get the body of the client's request."""

    def on_client_gone(self) -> None:
        if not self._over:
            self._pumping = True
            self._withdraw()
            self._close()
        if self._sending is not None:
            self._sending.drop()
        self._release()

    def on_client_slow(self) -> None:
        """What is there waits; the sources go on, since what they give is bounded."""

    def on_client_ready(self) -> None:
        if self._sending is not None:
            self._sending.send()
            if self._over:
                self._release()

    def __repr__(self) -> str:
        return f"<Run {self.call.request_id} {len(self._outcomes)} of {len(self._waits)} sources ended>"
