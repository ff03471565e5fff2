"""One source of an aggregate: a request of the gateway's own, whose end its Run is told of."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from gateway.core.errors import GatewayError
from gateway.core.exchange import UpstreamFacts
from gateway.decide.aggregate.outcome import TOO_LARGE
from gateway.decide.aggregate.plan import SourcePlan
from gateway.pipeline.edits import Editor
from gateway.pipeline.fetch import Fetch
from gateway.pipeline.route import Call
from gateway.upstreams.upstream import Upstream
from gateway.wire.head import ResponseHead
from gateway.wire.hops import lines_of, request_fields

if TYPE_CHECKING:
    from gateway.pipeline.aggregate_run import Run

SOURCE_BYTES: Final = 8 * 1024 * 1024
"""Of one source's answer; it is kept whole, and counts against `limits.buffered`."""


class Source(Fetch):
    """Ends with one call of `answered` or `failed` of its Run, unless the Run lets go of it before."""

    __slots__ = ("_counted", "plan", "run")

    def __init__(
        self,
        run: "Run",
        plan: SourcePlan,
        upstream: Upstream,
        *,
        target: str,
        lines: str,
        body: bytes,
        timeout_s: float,
        now: float,
    ) -> None:
        facts = UpstreamFacts(now)
        facts.request_id = run.call.request_id
        super().__init__(
            upstream,
            facts,
            method=plan.method,
            target=target,
            lines=lines,
            body=body,
            timeout_s=timeout_s,
            max_bytes=SOURCE_BYTES,
            now=run.now,
        )
        self.run = run
        self.queue = run.queue
        self.plan = plan
        self._counted = 0

    def on_fetched(self, head: ResponseHead, body: bytes, now: float) -> None:
        self.run.hold(len(body) - self._counted)
        self.run.answered(self.plan, head.status, body, now)

    def give_up(self, error: GatewayError) -> None:
        self.run.failed(self.plan, self.exchange.upstream_status, error.reason.name, self.now())

    def _keep(self, data: bytes) -> None:
        self._counted += len(data)
        self.run.hold(len(data))
        if self.run.is_full:
            self.on_client_gone()
            self.give_up(GatewayError("shed_overload", "the gateway holds all the bytes that limits.buffered allows"))
        else:
            super()._keep(data)

    def _refuse(self) -> None:
        """More than we keep: not the target's failure, and of no use."""
        self.on_client_gone()
        self.run.failed(self.plan, self.exchange.upstream_status, TOO_LARGE, self.now())


class ClientLines:
    """The fields that every source gets: who asks (`X-Forwarded-*`, `X-Request-Id`), and what is forwarded."""

    __slots__ = ("_text",)

    def __init__(self, call: Call, forward: tuple[str, ...], edit: Editor | None) -> None:
        """forward: lower-case names; edit: the route's, as on the plain path."""
        text = f"{call.connection.forwarding.lines(call.head)}X-Request-Id: {call.request_id}\r\n"
        if forward:
            text += lines_of([(name, value) for name, value in _fields(call) if name.lower() in forward])
        self._text = text if edit is None else edit.apply(text)

    def without(self, names: frozenset[str]) -> str:
        """The lines, but those of `names` (lower case), which a source writes itself."""
        if not names:
            return self._text
        lines = self._text.split("\r\n")
        return "".join([f"{line}\r\n" for line in lines if line and line.partition(":")[0].lower() not in names])


def _fields(call: Call) -> Iterable[tuple[str, str]]:
    """What the client sent, or what plugins made of it."""
    changes = call.changes
    if changes is None or changes.lines is None:
        return request_fields(call.head.fields)
    pairs = [line.partition(": ") for line in changes.lines.split("\r\n")]
    return [(name, value) for name, _, value in pairs if name]
