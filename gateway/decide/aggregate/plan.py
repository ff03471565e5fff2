"""An aggregate worked out at load: what each source is asked, who waits for whom, how the whole is made."""

from dataclasses import dataclass
from math import inf
from typing import Final

from gateway.core.json import dumps
from gateway.decide.aggregate.combine import Merge, make_merge
from gateway.decide.aggregate.graph import dependencies, references_of
from gateway.decide.aggregate.parts import Part, Path
from gateway.decide.aggregate.pick import Transform
from gateway.decide.aggregate.references import Reference, references_in
from gateway.decide.aggregate.settings import AggregateSettings, SourceSettings
from gateway.decide.aggregate.templates import HeaderTemplate, JsonTemplate, PathTemplate, Scope

_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})
"""Methods whose requests need no Content-Length where there is no body (RFC 9110 section 8.6)."""


class Requester:
    """Makes the request of one source."""

    __slots__ = ("_body", "_fixed_body", "_headers", "_lines", "own_fields", "path")

    def __init__(self, source: SourceSettings, sources: frozenset[str], forward: tuple[str, ...]) -> None:
        self.path = PathTemplate(source.path, sources)
        templates = [(name, HeaderTemplate(value, sources)) for name, value in source.headers]
        self.own_fields = frozenset(name.lower() for name, _ in source.headers)
        """Names in lower case; of these nothing is forwarded."""
        self._headers = [(name, each) for name, each in templates if each.constant is None]
        self._body = None if source.body is None else JsonTemplate(source.body, sources)
        self._fixed_body = b"" if self._body is None else self._body.constant
        nothing = Scope({}, {})
        self._lines = "".join(
            [f"{name}: {each.render(nothing)}\r\n" for name, each in templates if each.constant is not None]
        )
        if "accept" not in self.own_fields | frozenset(forward):
            self._lines += "Accept: application/json\r\n"
        if "accept-encoding" not in self.own_fields:
            self._lines += "Accept-Encoding: identity\r\n"
        if self._body is not None and "content-type" not in self.own_fields:
            self._lines += "Content-Type: application/json\r\n"
        if self._fixed_body or (self._body is None and source.method not in _BODILESS):
            self._lines += f"Content-Length: {len(self._fixed_body or b'')}\r\n"

    def lines(self, scope: Scope) -> str:
        """Field lines, all but what every source gets and the length of a body that varies. Raises MissingValue."""
        if not self._headers:
            return self._lines
        return self._lines + "".join([f"{name}: {each.render(scope)}\r\n" for name, each in self._headers])

    def body(self, scope: Scope) -> tuple[bytes, str]:
        """The body, and the line with its length where that is not among `lines`. Raises MissingValue."""
        if self._fixed_body is not None or self._body is None:
            return self._fixed_body or b"", ""
        body = self._body.render(scope)
        return body, f"Content-Length: {len(body)}\r\n"


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One source."""

    index: int
    name: str
    upstream: str
    method: str
    request: Requester
    timeout_s: float
    """inf: what is left of the aggregate's deadline."""
    required: bool
    fallback: Part | None
    transform: Transform
    paths: tuple[Path, ...]
    """What others ask for of its value, other than all of it."""
    taken_apart: bool
    waits_for: tuple[str, ...]
    dependents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AggregatePlan:
    """The whole."""

    sources: tuple[SourcePlan, ...]
    roots: tuple[int, ...]
    """Sources that wait for none."""
    merge: Merge
    flat: bool
    deadline_s: float
    forward: tuple[str, ...]


def make_plan(settings: AggregateSettings) -> AggregatePlan:
    """The plan of settings without problems (`aggregate_problems`)."""
    waits = dependencies(settings)
    asked = _asked(settings)
    names = [source.name for source in settings.sources]
    flat = settings.merge == "flat" and settings.shape is None
    forward = tuple(name.lower() for name in settings.forward)
    sources = tuple(
        SourcePlan(
            index=index,
            name=source.name,
            upstream=source.to,
            method=source.method,
            request=Requester(source, frozenset(names), forward),
            timeout_s=inf if source.timeout_s is None else source.timeout_s,
            required=source.required,
            fallback=Part(dumps(source.fallback), source.fallback) if source.has_fallback else None,
            transform=Transform(source.pick, source.rename),
            paths=asked.get(source.name, ()),
            taken_apart=flat or bool(asked.get(source.name)),
            waits_for=waits[source.name],
            dependents=tuple(names.index(name) for name in names if source.name in waits[name]),
        )
        for index, source in enumerate(settings.sources)
    )
    return AggregatePlan(
        sources=sources,
        roots=tuple(each.index for each in sources if not each.waits_for),
        merge=make_merge(settings),
        flat=flat,
        deadline_s=settings.deadline_s,
        forward=forward,
    )


def _asked(settings: AggregateSettings) -> dict[str, tuple[Path, ...]]:
    """The parts of each source's value that others and the shape refer to."""
    references: list[Reference] = [each for _, each in references_in(settings.shape)]
    for source in settings.sources:
        references += [each for _, each in references_of(source)]
    asked: dict[str, tuple[Path, ...]] = {}
    for each in references:
        if each.path and each.path not in asked.get(each.name, ()):
            asked[each.name] = (*asked.get(each.name, ()), each.path)
    return asked
