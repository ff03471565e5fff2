"""References in texts: `{param}` of the route, `{source}` and `{source.field.0.id}` of another source's value.

`{{` and `}}` stand for single braces. A text is parsed once, at load.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

_PIECE: Final = re.compile(r"([^{}]+)|(\{\{)|(\}\})|\{([^{}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*").fullmatch
Place = tuple[str | int, ...]
"""Keys and indices that lead to a text."""


class _Missing:
    """No value: not even null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class MissingValue(Exception):
    """A reference leads to nothing that can stand where it stands; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Reference:
    """`name` is a source or, where there is no `path`, perhaps a parameter; `path` leads into its value."""

    name: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "{" + ".".join((self.name, *self.path)) + "}"


@dataclass(frozen=True, slots=True)
class Param:
    """The name of a parameter of the route."""

    name: str


Pieces = tuple[str | Reference, ...]
Resolved = tuple[str | Param | Reference, ...]


def parse_references(text: str) -> Pieces:
    """Literal texts and references in turn as they stand in `text`. Raises ValueError with what to write instead."""
    pieces: list[str | Reference] = []
    literal, at = "", 0
    while at < len(text):
        found = _PIECE.match(text, at)
        if found is None:
            raise ValueError(f"{text[at:][:40]!r}: a brace that is no reference is written twice, as in {{{{ or }}}}")
        at = found.end()
        plain, opening, closing, inner = found.groups()
        if inner is None:
            literal += plain or opening[:1] if plain or opening else closing[:1]
            continue
        if literal:
            pieces.append(literal)
            literal = ""
        pieces.append(_reference(inner))
    if literal:
        pieces.append(literal)
    return tuple(pieces)


def _reference(inner: str) -> Reference:
    name, *path = inner.split(".")
    if not _NAME(name) or not all(path):
        raise ValueError(f"{{{inner}}} is not a reference; write {{parameter}} or {{source.field.0.id}}")
    return Reference(name, tuple(path))


def resolve(text: str, sources: frozenset[str]) -> Resolved:
    """`parse_references`, where what names no source is a parameter."""
    return tuple(
        Param(each.name) if isinstance(each, Reference) and each.name not in sources else each
        for each in parse_references(text)
    )


def constant_of(pieces: Resolved) -> str | None:
    """The text, where it refers to nothing."""
    texts = [each for each in pieces if isinstance(each, str)]
    return "".join(texts) if len(texts) == len(pieces) else None


def references_in(value: Any) -> list[tuple[Place, Reference]]:
    """The references in all texts of a JSON value, each with its place. Raises ValueError."""
    if isinstance(value, str):
        return [((), each) for each in parse_references(value) if isinstance(each, Reference)]
    found: list[tuple[Place, Reference]] = []
    for key, inner in members(value):
        found += [((key, *place), each) for place, each in references_in(inner)]
    return found


def members(value: Any) -> list[tuple[str | int, Any]]:
    """The members of an object with their keys, those of a list with their indices; none of anything else."""
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list | tuple) else []


def walk(value: Any, path: tuple[str, ...]) -> Any:
    """What `path` leads to: members by name, elements by number; MISSING where there is nothing."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step, MISSING)
        elif isinstance(value, list) and step.isascii() and step.isdecimal():
            value = value[int(step)] if len(step) < 10 and int(step) < len(value) else MISSING
        else:
            return MISSING
    return value
