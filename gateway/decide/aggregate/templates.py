"""Paths, header values and JSON with references, parsed at load and filled in when the values are there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, unquote_to_bytes

from gateway.core.json import dumps
from gateway.decide.aggregate.parts import Part
from gateway.decide.aggregate.references import (
    MISSING,
    MissingValue,
    Param,
    Reference,
    Resolved,
    constant_of,
    resolve,
)

_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch
"""RFC 9110 section 5.5: no CR, no LF, no NUL."""
_DOT_SEGMENT: Final = re.compile(r"(?:[/\\]|%2F|%5C)\.{1,2}(?:[/\\;]|%2F|%5C|%3B|$)").search
"""A segment that walks, also for servers that decode before they split."""

_INEXACT: Final = 2.0**64
"""Integers from here on are read as floats: an id of that size would be another one."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What references can lead to."""

    params: Mapping[str, str]
    """Of the route, as they arrived, still encoded."""
    parts: dict[str, Part]
    """Of the sources that have a value."""


class PathTemplate:
    """Path and query of a request. A value never becomes more than the one segment or query value it stands in."""

    __slots__ = ("_of_sources", "_pieces", "constant")

    def __init__(self, text: str, sources: frozenset[str]) -> None:
        pieces = resolve(text, sources)
        self._pieces: list[tuple[str | Param | Reference, bool]] = []
        in_query = False
        for piece in pieces:
            self._pieces.append((piece, in_query))
            in_query = in_query or (isinstance(piece, str) and "?" in piece)
        self._of_sources = any(isinstance(piece, Reference) for piece in pieces)
        self.constant = constant_of(pieces)

    def render(self, scope: Scope) -> str:
        """The target of the request. Raises MissingValue."""
        if self.constant is not None:
            return self.constant
        text = ""
        for piece, in_query in self._pieces:
            if isinstance(piece, Reference):
                value = quote(_text_of(piece, scope), safe="")
                if not value and not in_query:
                    raise MissingValue(f"{piece} is empty")
                text += value
            elif isinstance(piece, Param):
                value = scope.params[piece.name]
                text += quote(unquote_to_bytes(value), safe="") if in_query else value
            else:
                text += piece
        if self._of_sources:
            _refuse_dots(text.partition("?")[0])
        return text


def _refuse_dots(path: str) -> None:
    if "%00" in path:
        raise MissingValue("a value for the path holds a NUL")
    if "." in path and _DOT_SEGMENT(path):
        raise MissingValue("a value would make a dot segment of the path")


class HeaderTemplate:
    """The value of a header field."""

    __slots__ = ("_pieces", "constant")

    def __init__(self, text: str, sources: frozenset[str]) -> None:
        self._pieces = resolve(text, sources)
        self.constant = constant_of(self._pieces)

    def render(self, scope: Scope) -> str:
        """As it stands in a head; what is not ASCII goes as UTF-8. Raises MissingValue."""
        text = "".join([_plain(piece, scope) for piece in self._pieces])
        text = text.encode("utf-8", "replace").decode("latin-1").strip(" \t")
        if _FIELD_VALUE(text) is None:
            raise MissingValue("a value holds a character that no header field can")
        return text


class JsonTemplate:
    """A JSON value whose texts may be references; a text that is nothing but one takes on the type of the value."""

    __slots__ = ("_pieces", "references")

    def __init__(self, value: Any, sources: frozenset[str]) -> None:
        pieces: list[bytes | _Hole] = []
        _compile(value, sources, pieces)
        self._pieces = _joined(pieces)
        self.references = [
            each
            for hole in self._pieces
            if isinstance(hole, _Hole)
            for each in hole.pieces
            if isinstance(each, Reference)
        ]
        """Of sources."""

    @property
    def constant(self) -> bytes | None:
        """The JSON, where there are no references."""
        only = self._pieces[0]
        return only if len(self._pieces) == 1 and isinstance(only, bytes) else None

    def render(self, scope: Scope) -> bytes:
        """Raises MissingValue."""
        return b"".join([each if isinstance(each, bytes) else each.render(scope) for each in self._pieces])

    def render_what_is_there(self, scope: Scope) -> list[bytes]:
        """In pieces; null where a reference leads to nothing."""
        return [each if isinstance(each, bytes) else each.render_or_null(scope) for each in self._pieces]


class _Hole:
    """A text with references."""

    __slots__ = ("pieces",)

    def __init__(self, pieces: Resolved) -> None:
        self.pieces = pieces

    def render(self, scope: Scope) -> bytes:
        first = self.pieces[0]
        if len(self.pieces) == 1 and isinstance(first, Reference):
            found = _part_of(first, scope).json_at(first.path)
            if found is None:
                raise MissingValue(f"{first} is not in the answer")
            return found
        return dumps("".join([_plain(piece, scope) for piece in self.pieces]))

    def render_or_null(self, scope: Scope) -> bytes:
        try:
            return self.render(scope)
        except MissingValue:
            return b"null"


def _compile(value: Any, sources: frozenset[str], pieces: list[bytes | _Hole]) -> None:
    if isinstance(value, str):
        parsed = resolve(value, sources)
        constant = constant_of(parsed)
        pieces.append(_Hole(parsed) if constant is None else dumps(constant))
    elif isinstance(value, dict) and value:
        for number, (name, inner) in enumerate(value.items()):
            pieces.append((b"," if number else b"{") + dumps(name) + b":")
            _compile(inner, sources, pieces)
        pieces.append(b"}")
    elif isinstance(value, list | tuple) and value:
        for number, inner in enumerate(value):
            pieces.append(b"," if number else b"[")
            _compile(inner, sources, pieces)
        pieces.append(b"]")
    else:
        pieces.append(dumps(value))


def _joined(pieces: list[bytes | _Hole]) -> list[bytes | _Hole]:
    """Bytes beside bytes made one."""
    joined: list[bytes | _Hole] = []
    for each in pieces:
        last = joined[-1] if joined else None
        if isinstance(each, bytes) and isinstance(last, bytes):
            joined[-1] = last + each
        else:
            joined.append(each)
    return joined


def _part_of(reference: Reference, scope: Scope) -> Part:
    part = scope.parts.get(reference.name)
    if part is None:
        raise MissingValue(f"{reference.name} has no value")
    return part


def _plain(piece: str | Param | Reference, scope: Scope) -> str:
    if isinstance(piece, Reference):
        return _text_of(piece, scope)
    return unquote(scope.params[piece.name]) if isinstance(piece, Param) else piece


def _text_of(reference: Reference, scope: Scope) -> str:
    """A text, a number or a truth value as text. Raises MissingValue for anything else."""
    value = _part_of(reference, scope).at(reference.path)
    if isinstance(value, str):
        return value
    if value is MISSING:
        raise MissingValue(f"{reference} is not in the answer")
    if value is None or isinstance(value, dict | list):
        kind = "null" if value is None else "an object" if isinstance(value, dict) else "a list"
        raise MissingValue(f"{reference} is {kind}, which cannot stand in a text")
    if isinstance(value, float) and abs(value) >= _INEXACT:
        raise MissingValue(f"{reference} is a number beyond 64 bits, of which digits are lost; it has to be a text")
    return dumps(value).decode()
