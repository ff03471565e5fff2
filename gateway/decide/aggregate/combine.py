"""From the values of the sources to the one body: in pieces of JSON that are sent one behind the other.

`report` says what is missing (the member `_sources`); None where nothing is. A list, which has no members, gets it as
one more element: `{"_sources": ...}`.
"""

from abc import ABC, abstractmethod
from typing import Final

from gateway.core.json import Fragment, dumps
from gateway.decide.aggregate.settings import AggregateSettings
from gateway.decide.aggregate.templates import JsonTemplate, Scope

REPORT: Final = "_sources"
_MEMBER: Final = b',"_sources":'


class Merge(ABC):
    """How the values become one."""

    __slots__ = ()

    @abstractmethod
    def pieces(self, scope: Scope, report: bytes | None) -> list[bytes]: ...


class ObjectMerge(Merge):
    """By source name; what has no value is not there."""

    __slots__ = ("_keys",)

    def __init__(self, names: list[str]) -> None:
        self._keys = [(name, b"," + dumps(name) + b":") for name in names]

    def pieces(self, scope: Scope, report: bytes | None) -> list[bytes]:
        parts = scope.parts
        pieces: list[bytes] = []
        for name, key in self._keys:
            part = parts.get(name)
            if part is not None:
                pieces += (key, part.raw)
        if report is not None:
            pieces += (_MEMBER, report)
        if not pieces:
            return [b"{}"]
        pieces[0] = b"{" + pieces[0][1:]
        pieces.append(b"}")
        return pieces


class ListMerge(Merge):
    """In the order of the sources; null in the place of what has no value."""

    __slots__ = ("_names",)

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def pieces(self, scope: Scope, report: bytes | None) -> list[bytes]:
        pieces: list[bytes] = []
        for name in self._names:
            part = scope.parts.get(name)
            pieces += (b"," if pieces else b"[", b"null" if part is None else part.raw)
        if report is not None:
            pieces += (b"," if pieces else b"[", b'{"_sources":', report, b"}")
        pieces.append(b"]")
        return pieces


class FlatMerge(Merge):
    """The members of all; of two with one name the later source's. What is no object stands by its source's name."""

    __slots__ = ("_names",)

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def pieces(self, scope: Scope, report: bytes | None) -> list[bytes]:
        merged = {}
        for name in self._names:
            part = scope.parts.get(name)
            if part is None:
                continue
            members = part.members()
            if members is None:
                merged[name] = Fragment(part.raw)
            else:
                merged.update(members)
        if report is not None:
            merged[REPORT] = Fragment(report)
        return [dumps(merged)]


class ShapeMerge(Merge):
    """As the template says; null where it refers to what is not there."""

    __slots__ = ("_is_list", "_template")

    def __init__(self, template: JsonTemplate, *, is_list: bool) -> None:
        self._template = template
        self._is_list = is_list

    def pieces(self, scope: Scope, report: bytes | None) -> list[bytes]:
        pieces = self._template.render_what_is_there(scope)
        if report is not None:
            pieces[-1] = pieces[-1][:-1]
            pieces += (b',{"_sources":', report, b"}]") if self._is_list else (_MEMBER, report, b"}")
        return pieces


def make_merge(settings: AggregateSettings) -> Merge:
    """What the settings ask for."""
    names = [source.name for source in settings.sources]
    if settings.shape is not None:
        template = JsonTemplate(settings.shape, frozenset(names))
        return ShapeMerge(template, is_list=isinstance(settings.shape, list | tuple))
    if settings.merge == "flat":
        return FlatMerge(names)
    return ListMerge(names) if settings.merge == "list" else ObjectMerge(names)
