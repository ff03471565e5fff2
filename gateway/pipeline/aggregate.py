"""Many upstreams, one answer: what a route with `aggregate:` answers with.

An answer is complete when every source gave a value of its own. One in whose place its `fallback` stands is named in
`_sources`, and the answer says `X-Gateway-Complete: false`, so that nobody takes a stand-in for the truth. An answer
in which every optional source failed is still 200: what may fail must be marked `required` to fail the whole.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from gateway.decide.aggregate.accept import wanted_form
from gateway.decide.aggregate.events import CONTENT_TYPES, END
from gateway.decide.aggregate.plan import make_plan
from gateway.decide.aggregate.settings import AggregateSettings
from gateway.pipeline.aggregate_counts import AggregateCounts
from gateway.pipeline.aggregate_run import Run
from gateway.pipeline.aggregate_stream import AggregateStream
from gateway.pipeline.edits import Editor
from gateway.pipeline.respond import http_date, send_whole
from gateway.pipeline.route import Answer, Call
from gateway.upstreams.upstream import Upstream


class Elsewhere(Protocol):
    """An executor."""

    async def call(
        self, function: Callable[..., Any], *arguments: Any, deadline: float | None = None, exchange: Any = None
    ) -> Any: ...


class Aggregate(Answer):
    """The answer of a route: what its settings come down to, worked out at load."""

    __slots__ = (
        "_heads",
        "_stream_lines",
        "counts",
        "elsewhere",
        "loop",
        "now",
        "plan",
        "queue",
        "request_edit",
        "upstreams",
    )

    def __init__(
        self,
        settings: AggregateSettings,
        *,
        upstreams: dict[str, Upstream],
        counts: AggregateCounts,
        request_edit: Editor | None,
        response_edit: Editor | None,
        elsewhere: Elsewhere,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], float],
        queue: str,
    ) -> None:
        """Settings have no problems (`aggregate_problems`). elsewhere: where large answers are parsed."""
        self.plan = make_plan(settings)
        self.upstreams = [upstreams[source.upstream] for source in self.plan.sources]
        self.counts = counts
        self.request_edit = request_edit
        self.elsewhere = elsewhere
        self.loop = loop
        self.now = now
        self.queue = queue
        self._heads = {
            complete: _edited(
                "Content-Type: application/json\r\nVary: Accept\r\n"
                f"X-Gateway-Complete: {'true' if complete else 'false'}\r\n",
                response_edit,
            )
            for complete in (True, False)
        }
        self._stream_lines = {
            form: _edited(f"Content-Type: {kind}\r\nCache-Control: no-store\r\nVary: Accept\r\n", response_edit)
            for form, kind in CONTENT_TYPES.items()
        }

    def begin(self, call: Call) -> None:
        call.source = "aggregate"
        fields = call.head.fields
        form = wanted_form(fields.get("accept"))
        if form == "json":
            Run(self, call, None).begin()
            return
        lines = self._stream_lines[form]
        if call.method == "HEAD":
            lines = f"Date: {http_date()}\r\n{lines}X-Request-Id: {call.request_id}\r\n"
            call.connection.send(200, lines, -1, b"", True, self.now())
        elif form == "sse" and fields.get("last-event-id") == END:
            send_whole(call.connection, call, 204, "Vary: Accept\r\n", b"", self.now())
        else:
            call.stream = "sse" if form == "sse" else None
            Run(self, call, AggregateStream(call, form, lines, self.now)).begin()

    def head_lines(self, *, complete: bool) -> str:
        return self._heads[complete]

    def __repr__(self) -> str:
        return f"<Aggregate of {[source.name for source in self.plan.sources]}>"


def _edited(lines: str, edit: Editor | None) -> str:
    return lines if edit is None else edit.apply(lines)
