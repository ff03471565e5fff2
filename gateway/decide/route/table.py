"""The routing table: from a request to its route.

Host: exact, then `*.example.com` (longest first), then any. Path: segment by segment literal, parameter, rest.
Then more conditions before fewer. A route whose method, headers or query do not fit gives way to the next less
specific one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Generic, TypeVar

from gateway.decide.route.form import ANY_VALUE, Form, Pairs, most_specific_first, query_values
from gateway.decide.route.match import Pattern
from gateway.decide.route.settings import MatchSettings
from gateway.decide.route.tree import PathTree

T = TypeVar("T")
Headers = Callable[[str], str | None] | Mapping[str, str]
"""Looks a lower-case header name up."""

_NO_PARAMS: Final[dict[str, str]] = {}


class Match(Generic[T]):
    """A route that takes the request. Shared between requests, so read only."""

    __slots__ = ("cacheable", "params", "rest", "value")

    def __init__(self, value: T, params: dict[str, str], rest: str, cacheable: bool) -> None:
        self.value = value
        self.params = params
        """The segments of the parameters as they arrived, still encoded."""
        self.rest = rest
        """What `/*` matched, with its slash: `/api/*` matches `/api` with "" and `/api/x` with `/x`."""
        self.cacheable = cacheable
        """True if method, host and path alone led here."""

    def __repr__(self) -> str:
        return f"Match({self.value!r}, params={self.params}, rest={self.rest!r})"


class Miss:
    """No route: 405 with `allow`, or 404 when that is empty."""

    __slots__ = ("allow", "cacheable")

    def __init__(self, allow: tuple[str, ...], cacheable: bool) -> None:
        self.allow = allow
        self.cacheable = cacheable

    def __repr__(self) -> str:
        return f"Miss(allow={self.allow})"


class _Route(Generic[T]):
    """A form, ready to be tried."""

    __slots__ = ("allow", "headers", "last_param", "methods", "params", "query", "rest_after", "shared", "value")

    def __init__(self, form: Form[T]) -> None:
        self.value = form.value
        self.allow = form.taken_methods
        self.methods = frozenset(form.taken_methods) if form.methods else None
        self.headers = form.headers
        self.query = form.query
        self.params = _positions(form.pattern)
        self.last_param = self.params[-1][1] if self.params else 0
        self.rest_after = len(form.pattern.segments) if form.pattern.rest else -1
        shared = not self.params and self.rest_after < 0
        self.shared = Match(form.value, _NO_PARAMS, "", True) if shared else None

    def matched(self, path: str, cacheable: bool) -> Match[T]:
        """The match of a path that is known to fit."""
        params = _NO_PARAMS
        if self.params:
            segments = path.split("/", self.last_param + 1)
            params = {}
            for name, index in self.params:
                params[name] = segments[index]
        rest = ""
        if self.rest_after == 0:
            rest = path
        elif self.rest_after > 0:
            pieces = path.split("/", self.rest_after + 1)
            rest = "/" + pieces[-1] if len(pieces) > self.rest_after + 1 else ""
        return Match(self.value, params, rest, cacheable)

    def holds(self, headers: Headers | None, query: str | None) -> bool:
        """Whether the request has the required headers and query values."""
        if self.headers:
            look_up = headers if callable(headers) else (headers or {}).get
            for name, wanted in self.headers:
                value = look_up(name)
                if value is None or wanted not in (ANY_VALUE, value):
                    return False
        return not self.query or _query_holds(self.query, query)


class RouteTable(Generic[T]):
    """All routes. A look-up costs time by the segments of the path, not by the number of routes."""

    def __init__(self, entries: Iterable[tuple[MatchSettings, T]]) -> None:
        trees: dict[str, PathTree[_Route[T]]] = {}
        for form in most_specific_first(entries):
            tree = trees.setdefault(form.host, PathTree())
            tree.add(form.pattern, _Route(form), form.certain)
        self._any = (trees[""],) if "" in trees else ()
        self._suffixes = {host[1:]: tree for host, tree in trees.items() if host.startswith("*.")}
        self._labels = max((suffix.count(".") for suffix in self._suffixes), default=0)
        self._exact = {
            host: (tree, *self._inexact(host)) for host, tree in trees.items() if host and not host.startswith("*.")
        }

    def find(
        self,
        method: str,
        host: str,
        path: str,
        headers: Headers | None = None,
        query: str | None = None,
    ) -> Match[T] | Miss:
        """The route of a request. `host` is in lower case without port; `path` is normalised."""
        plain = True
        for tree in self._exact.get(host) or self._inexact(host):
            for route in tree.find(path):
                if route.methods is not None and method not in route.methods:
                    continue
                if route.headers or route.query:
                    plain = False
                    if not route.holds(headers, query):
                        continue
                if plain and route.shared is not None:
                    return route.shared
                return route.matched(path, plain)
        return self._miss(host, path, headers, query)

    def stats(self) -> dict[str, int]:
        """Hosts, nodes of the trees, and states made so far with their bound."""
        trees = self._trees()
        totals = {"hosts": len(trees)}
        for tree in trees:
            for name, number in tree.stats().items():
                totals[name] = totals.get(name, 0) + number
        return totals

    def pieces(self) -> list[object]:
        """All that it is made of, each behind what holds it: who lets go of one after the other, from the first to the
        last, frees a large table a little at a time."""
        return [piece for tree in self._trees() for piece in tree.pieces()]

    def _trees(self) -> list[PathTree[_Route[T]]]:
        trees = {id(tree): tree for chain in self._exact.values() for tree in chain}
        trees |= {id(tree): tree for tree in (*self._suffixes.values(), *self._any)}
        return list(trees.values())

    def _inexact(self, host: str) -> tuple[PathTree[_Route[T]], ...]:
        """The trees of the wildcards that cover `host`, longest first, then that of any host."""
        if not self._suffixes:
            return self._any
        found = []
        labels = host.rsplit(".", self._labels)
        for start in range(1, len(labels)):
            tree = self._suffixes.get("." + ".".join(labels[start:]))
            if tree is not None:
                found.append(tree)
        return (*found, *self._any)

    def _miss(self, host: str, path: str, headers: Headers | None, query: str | None) -> Miss:
        """`Allow` names the methods with which this very request would be taken."""
        allow: dict[str, None] = {}
        plain = True
        for tree in self._exact.get(host) or self._inexact(host):
            for route in tree.find(path):
                plain = plain and not (route.headers or route.query)
                if route.allow and route.holds(headers, query):
                    allow.update(dict.fromkeys(route.allow))
        return Miss(tuple(sorted(allow)), plain) if allow or not plain else _NOT_FOUND


_NOT_FOUND: Final = Miss((), True)


def _positions(pattern: Pattern) -> tuple[tuple[str, int], ...]:
    """The parameters' names, each with its place in `path.split("/")`."""
    places = [place for place, segment in enumerate(pattern.segments, 1) if segment is None]
    return tuple(zip(pattern.params, places, strict=True))


def _query_holds(wanted: Pairs, query: str | None) -> bool:
    values = query_values(query)
    return all(name in values and value in (ANY_VALUE, values[name]) for name, value in wanted)
