"""What becomes of the path: the path of the upstream's request, and the place of a redirect.

Both start from the normalised path, whose segments are never empty where a parameter took them, never dots, and never
hold a byte that would have to be escaped. So nothing that a client sends can walk up a path or end a header here.
"""

import re
from typing import Any, Protocol

from gateway.decide.route.match import Pattern, parse_pattern
from gateway.decide.route.path import PathError, normalise_path
from gateway.decide.route.settings import MatchSettings
from gateway.decide.route.table import Match

_PARAM = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_DOTS_AT_PARAM = re.compile(r"/\.{1,2}\{")


class RewriteSettings(Protocol):
    """The part of a route's settings that says which path the upstream gets; empty strings change nothing."""

    @property
    def rewrite(self) -> str: ...

    @property
    def strip(self) -> str: ...


class LocationSettings(Protocol):
    @property
    def location(self) -> str: ...


class Rewrite:
    """From the normalised path and its match to the path for the upstream. `rewrite` goes before `strip`."""

    __slots__ = ("_parts", "_segments", "_strip", "_takes_rest")

    def __init__(self, settings: RewriteSettings) -> None:
        self._takes_rest = settings.rewrite.endswith("/*")
        self._parts = _parts(settings.rewrite)
        """Text and names of parameters in turn; empty: not rewritten."""
        pattern = _strip_pattern(settings.strip)
        self._segments = pattern.segments
        self._strip = "" if None in pattern.segments else "".join(f"/{text}" for text in pattern.segments)

    def __call__(self, path: str, match: Match[Any]) -> str:
        if self._parts:
            return self._rewritten(match)
        if self._strip:
            return self._without_prefix(path)
        return self._without_segments(path) if self._segments else path

    def _rewritten(self, match: Match[Any]) -> str:
        if len(self._parts) == 1:
            path = self._parts[0]
        else:
            params = match.params
            path = "".join(params[part] if place % 2 else part for place, part in enumerate(self._parts))
        if self._takes_rest:
            path += match.rest
        return path or "/"

    def _without_prefix(self, path: str) -> str:
        if not path.startswith(self._strip):
            return path
        left = path[len(self._strip) :]
        if not left:
            return "/"
        return left if left[0] == "/" else path

    def _without_segments(self, path: str) -> str:
        pieces = path.split("/", len(self._segments) + 1)[1:]
        if len(pieces) < len(self._segments):
            return path
        for wanted, piece in zip(self._segments, pieces, strict=False):
            if not piece or wanted not in (None, piece):
                return path
        return "/" + "/".join(pieces[len(self._segments) :])


class Redirect:
    """From what `/*` matched and the query to the Location. The query is kept behind one that the location has."""

    __slots__ = ("_fragment", "_has_query", "_location", "_takes_rest")

    def __init__(self, settings: LocationSettings) -> None:
        self._location, mark, fragment = settings.location.partition("#")
        self._fragment = mark + fragment
        self._has_query = "?" in self._location
        self._takes_rest = self._location.endswith("/") and not self._has_query

    def __call__(self, rest: str, query: str | None) -> str:
        location = self._location
        if self._takes_rest and len(rest) > 1:
            location += rest[1:]
            if self._location == "/":
                location = "/" + location.lstrip("/")  # `//evil.example` would name another host
        if query is not None:
            location += ("&" if self._has_query else "?") + query
        return location + self._fragment


def rewrite_problems(settings: RewriteSettings, match: MatchSettings) -> list[str]:
    """What is wrong with a route's `rewrite` and `strip`; a Rewrite with problems must not be used."""
    patterns = [parse_pattern(path) for path in match.paths]
    found = [problem for pattern in patterns for problem in _against(settings, pattern)]
    return list(dict.fromkeys([*_alone(settings), *found]))


def _alone(settings: RewriteSettings) -> list[str]:
    found = []
    if settings.rewrite and settings.strip:
        found.append("rewrite and strip exclude each other; keep one")
    if settings.strip:
        try:
            _strip_pattern(settings.strip)
        except ValueError as error:
            found.append(f"strip: {error}")
    if settings.rewrite:
        path = _PARAM.sub("x", settings.rewrite)
        if not path.startswith("/"):
            found.append(f"rewrite begins with /; write /{settings.rewrite}")
        elif {"{", "}"} & set(path) or "*" in path.removesuffix("/*"):
            found.append("rewrite takes {param} of the match, and /* at its end")
        elif _DOTS_AT_PARAM.search(settings.rewrite):
            found.append("rewrite has dots before a parameter")
        else:
            found += _not_normal(path)
    return found


def _not_normal(path: str) -> list[str]:
    try:
        normal = normalise_path(path)
    except PathError as error:
        return [f"rewrite: {error}"]
    if normal != path:
        return ["rewrite has dot segments or needless escapes; write the path that the upstream shall see"]
    return []


def _against(settings: RewriteSettings, pattern: Pattern) -> list[str]:
    found = []
    for name in _PARAM.findall(settings.rewrite):
        if name not in pattern.params:
            names = ", ".join(f"{{{each}}}" for each in pattern.params) or "none"
            found.append(f"rewrite uses {{{name}}}, but {pattern.text} has {names}")
    if settings.rewrite.endswith("/*") and not pattern.rest:
        found.append(f"rewrite ends with /*, but {pattern.text} does not")
    return found


def _parts(rewrite: str) -> tuple[str, ...]:
    if not rewrite:
        return ()
    return tuple(_PARAM.split(rewrite.removesuffix("/*")))


def _strip_pattern(strip: str) -> Pattern:
    """`/api`, `/api/` and `/api/*` say the same: these leading segments."""
    if not strip:
        return Pattern("", ())
    pattern = parse_pattern(strip.removesuffix("*").rstrip("/") or "/*")
    if "" in pattern.segments:
        raise ValueError(f"{strip!r} has an empty segment")
    return pattern
