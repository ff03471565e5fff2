"""What a route does with the requests it matches. Seconds and bytes."""

from dataclasses import dataclass

from gateway.decide.aggregate.settings import AggregateSettings
from gateway.decide.resilience.queue_settings import DEFAULT
from gateway.decide.route.settings import MatchSettings


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """Fields to set (replacing all of that name) and to remove, in one direction."""

    set: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.set or self.remove)


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """Proxy to one upstream, or to several by weight (`to`: name and share; shares add up to any total)."""

    to: tuple[tuple[str, int], ...]
    rewrite: str = ""
    """Path of the upstream request; may use the route's `{param}` names. Empty: the client's path."""
    strip: str = ""
    """Whole leading segments to take off the path."""
    host: str = "pass"
    """`pass` (the client's Host), `upstream` (the target's name) or a name."""


@dataclass(frozen=True, slots=True)
class RespondSettings:
    """A fixed answer."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    """Contains `content-type` already (text/plain, or application/json for a mapping or list in the YAML)."""


@dataclass(frozen=True, slots=True)
class RedirectSettings:
    """Redirect to `location`: an absolute URL or a path; a trailing `/` takes on what the route's `/*` matched."""

    location: str
    status: int = 308


def short_name(run: str) -> str:
    """`module:name` of a `run`; of a file without its directories."""
    place, _, name = run.rpartition(":")
    return f"{place.rpartition('/')[2]}:{name}"


@dataclass(frozen=True, slots=True)
class CallableSettings:
    """The users' Python: a function, or a class (of a plugin)."""

    run: str
    """`package.module:name`, or `/absolute/file.py:name`."""
    executor: str = ""
    """Where a plain `def` runs; empty: on `default`."""
    timeout_s: float | None = None
    """Of one call; None: the executor's own, and for `async def` the route's."""


@dataclass(frozen=True, slots=True)
class HandlerSettings:
    """Answered by Python."""

    call: CallableSettings


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """Python that is asked before the answer is made, and may be told of it."""

    name: str
    """In metrics and in the log: what `run` names."""
    call: CallableSettings
    on_error: str = "deny"
    """deny | allow: what an exception or a timeout of the plugin means for the request."""


@dataclass(frozen=True, slots=True)
class AppSettings:
    """A whole application in process."""

    kind: str
    """wsgi | asgi"""
    app: str
    """`package.module:name`, or `/absolute/file.py:name`."""
    executor: str = ""
    """Of a WSGI application; empty: `default`."""
    strip: str = ""
    """Whole leading segments that become SCRIPT_NAME (WSGI) and root_path (ASGI)."""


@dataclass(frozen=True, slots=True)
class BufferSettings:
    """`request`: bodies up to this are read whole before a target is engaged. `response`: read-ahead of a client."""

    request_bytes: int = 64 * 1024
    response_bytes: int = 256 * 1024


AnswerSettings = (
    ForwardSettings | RespondSettings | RedirectSettings | HandlerSettings | AppSettings | AggregateSettings
)


@dataclass(frozen=True, slots=True)
class RouteSettings:
    name: str
    match: MatchSettings
    answer: AnswerSettings
    plugins: tuple[PluginSettings, ...] = ()
    """In the order in which they are asked."""
    timeout_s: float | None = 30.0
    """The whole exchange until the response head, and between body bytes. None: off."""
    body_bytes: int | None = -1
    """Limit of the request body; None: off; -1: the gateway's `limits.body`."""
    buffer: BufferSettings = BufferSettings()
    class_: str = DEFAULT
    """Its queue: where requests wait when their upstream is full."""
    class_weight: int = 1
    """Of that queue: when the gateway has too much to do, classes of lower weight are shed first."""
    upgrade: tuple[str, ...] = ("websocket",)
    """Protocols that a client may upgrade to through this route, lower case."""
    request_headers: HeaderEdits = HeaderEdits()
    response_headers: HeaderEdits = HeaderEdits()
    source: str = ""
    """`file:line` of the route, for messages."""
