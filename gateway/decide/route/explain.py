"""Why routes did not take a request, in words for the person who wrote them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.decide.route.form import ANY_VALUE, Form, Pairs, expand, query_values
from gateway.decide.route.match import Pattern
from gateway.decide.route.settings import MatchSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as far as matching sees it: host in lower case without port, path normalised, header names lower."""

    method: str
    host: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str | None = None


def near_misses(entries: Iterable[tuple[MatchSettings, T]], asked: Asked, limit: int = 5) -> list[tuple[T, str]]:
    """The routes that came closest without fitting, closest first, each with all that stood against it."""
    closest: dict[int, tuple[tuple[int, bool, int], T, str]] = {}
    for form in expand(entries):
        why = why_not(form, asked)
        wrong_path = bool(_path(form.pattern, asked.path))
        distance = len(why), wrong_path, -_segments_in_common(form.pattern, asked.path)
        known = closest.get(id(form.value))
        if known is None or distance < known[0]:
            closest[id(form.value)] = distance, form.value, "; ".join(why)
    misses = sorted((entry for entry in closest.values() if entry[2]), key=lambda entry: entry[0])
    return [(value, why) for _, value, why in misses[:limit]]


def why_not(form: Form[T], asked: Asked) -> list[str]:
    """Everything that keeps a request from fitting; empty if it fits."""
    found = [_host(form.host, asked.host), _path(form.pattern, asked.path)]
    if form.methods and asked.method not in form.taken_methods:
        found.append(f"method: takes {', '.join(form.methods)}")
    found += _fields("header", form.headers, asked.headers)
    found += _fields("query", form.query, query_values(asked.query))
    return [why for why in found if why]


def _host(wanted: str, host: str) -> str:
    if wanted in ("", host) or (wanted.startswith("*.") and host.endswith(wanted[1:])):
        return ""
    return f"host: is {host!r}, the route wants {wanted!r}"


def _path(pattern: Pattern, path: str) -> str:
    segments = path[1:].split("/")
    names = iter(pattern.params)
    for number, wanted in enumerate(pattern.segments, 1):
        shown = repr(wanted) if wanted is not None else f"{{{next(names)}}}"
        if number > len(segments):
            return f"path: ends after segment {number - 1}, the route wants {shown} next"
        segment = segments[number - 1]
        if wanted is None and not segment:
            return f"path: segment {number} is empty, the route wants {shown}"
        if wanted not in (None, segment):
            return f"path: segment {number} is {segment!r}, the route wants {shown}"
    if len(segments) > len(pattern.segments) and not pattern.rest:
        extra = segments[len(pattern.segments)]
        return f"path: goes on with {extra!r} after segment {len(pattern.segments)}, where the route ends"
    return ""


def _fields(kind: str, wanted: Pairs, has: Mapping[str, str]) -> list[str]:
    found = []
    for name, value in wanted:
        if name not in has:
            found.append(f"{kind} {name} missing")
        elif value not in (ANY_VALUE, has[name]):
            found.append(f"{kind} {name} is {has[name]!r}, the route wants {value!r}")
    return found


def _segments_in_common(pattern: Pattern, path: str) -> int:
    """Literals count more than parameters, which fit anything."""
    pairs = zip(pattern.segments, path[1:].split("/"), strict=False)
    return sum(2 if wanted == segment else wanted is None for wanted, segment in pairs)
