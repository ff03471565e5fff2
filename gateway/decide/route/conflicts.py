"""Routes that cannot both be meant: ties, where nothing says who goes first, and routes that no request reaches."""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from gateway.decide.route.form import ANY_VALUE, Form, Pairs, expand
from gateway.decide.route.settings import MatchSettings

T = TypeVar("T")
Entries = Iterable[tuple[MatchSettings, T]]
Field = tuple[str, str]
"""`header` or `query`, and the name."""

OWN_METHODS = frozenset({"CONNECT", "TRACE"})
"""Answered by the gateway itself, never by a route."""


def conflicts(entries: Entries[T]) -> list[tuple[T, T]]:
    """Pairs of routes that tie, in the order in which they stand. Of many in one tie each is paired with the first."""
    pairs = {(id(first.value), id(second.value)): (first.value, second.value) for first, second in ties(entries)}
    return list(pairs.values())


def ties(entries: Entries[T]) -> Iterator[tuple[Form[T], Form[T]]]:
    """Forms with the same host, shape of path and rank that one request can fit both.

    Time grows with the routes, and with the square of the different sets of header and query names on one path.
    """
    groups: dict[object, list[Form[T]]] = {}
    for form in expand(entries):
        groups.setdefault((form.host, form.pattern.shape, form.rank), []).append(form)
    for group in groups.values():
        if len(group) > 1:
            yield from _ties_within(group)


def _ties_within(group: list[Form[T]]) -> Iterator[tuple[Form[T], Form[T]]]:
    """Sorted by the fields they compare first, since only values of the same field exclude each other."""
    kinds: dict[frozenset[Field], list[tuple[int, Form[T]]]] = {}
    for place, form in enumerate(group):
        kinds.setdefault(frozenset(_compared(form)), []).append((place, form))
    fields = list(kinds)
    for number, one in enumerate(fields):
        for other in fields[number:]:
            yield from _first_met(kinds[one], kinds[other], sorted(one & other))


def _first_met(
    ones: list[tuple[int, Form[T]]], others: list[tuple[int, Form[T]]], shared: list[Field]
) -> Iterator[tuple[Form[T], Form[T]]]:
    """Each of `others` with the first of `ones` that has the same values in the shared fields and a method."""
    met: dict[object, tuple[int, Form[T]]] = {}
    for known in ones:
        for mark in _marks(known[1], shared):
            met.setdefault(mark, known)
    for place, form in others:
        firsts = dict(met[mark] for mark in _marks(form, shared) if mark in met)
        for at, first in firsts.items():
            if first.value is not form.value:
                yield (first, form) if at < place else (form, first)


def _marks(form: Form[T], shared: list[Field]) -> Iterator[object]:
    values = _compared(form)
    mark = tuple(values[field] for field in shared)
    return ((method, mark) for method in form.methods or ("",))


def _compared(form: Form[T]) -> dict[Field, str]:
    both: tuple[tuple[str, Pairs], ...] = (("header", form.headers), ("query", form.query))
    return {(kind, name): value for kind, pairs in both for name, value in pairs if value != ANY_VALUE}


def unreachable(entries: Entries[T]) -> list[tuple[T, str]]:
    """Routes that no request can reach, each with the reason. Ties are not told again."""
    return _Coverage(list(expand(entries))).unreachable()


class _Coverage(Generic[T]):
    """Only a trailing `/*` can be covered whole by routes that go before it: all others have nothing as wide there."""

    def __init__(self, forms: list[Form[T]]) -> None:
        self._forms = forms
        self._by_shape: dict[object, list[Form[T]]] = {}
        for form in forms:
            self._by_shape.setdefault((form.host, *form.pattern.shape), []).append(form)

    def unreachable(self) -> list[tuple[T, str]]:
        reasons: dict[int, tuple[T, set[str]]] = {}
        for form in self._forms:
            reasons.setdefault(id(form.value), (form.value, set()))[1].add(self._why(form))
        return [(value, " and ".join(sorted(why))) for value, why in reasons.values() if "" not in why]

    def _why(self, form: Form[T]) -> str:
        if form.methods and OWN_METHODS.issuperset(form.methods):
            return f"{' and '.join(form.methods)} is answered by the gateway itself"
        if form.pattern.rest and self._splits(form, form.pattern.segments):
            return f"more specific routes take all of {form.host}{form.pattern.text}"
        return ""

    def _splits(self, form: Form[T], prefix: tuple[str | None, ...]) -> bool:
        """Whether others take the prefix alone, all that goes on with an empty segment, and all that with another."""
        alone = self._taken(form, prefix, False)
        return alone and all(
            self._taken(form, (*prefix, after), True) or self._splits(form, (*prefix, after)) for after in ("", None)
        )

    def _taken(self, form: Form[T], segments: tuple[str | None, ...], rest: bool) -> bool:
        return any(_implied(other, form) for other in self._by_shape.get((form.host, segments, rest), ()))


def _implied(wider: Form[T], form: Form[T]) -> bool:
    """Whether whatever fits the conditions of `form` fits those of `wider`."""
    methods = not wider.methods or (bool(form.methods) and set(form.methods) <= set(wider.taken_methods))
    return methods and _fields_implied(wider.headers, form.headers) and _fields_implied(wider.query, form.query)


def _fields_implied(wider: Pairs, pairs: Pairs) -> bool:
    has = dict(pairs)
    return all(name in has and value in (ANY_VALUE, has[name]) for name, value in wider)
