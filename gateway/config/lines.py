"""Where each value stands: mappings and lists that remember their lines, and the way from a key path to a place.

The tree of a config is made of Map and Seq, which are a dict and a list with the marks of what they hold. A value
keeps its mark when it is merged from an included file, so a key path leads to the right file by itself.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

KeyPath = tuple[str | int, ...]
Value = Any


class Source:
    """One file: its name as the user wrote it, and its lines."""

    __slots__ = ("_lines", "name", "text")

    def __init__(self, name: str, text: str = "") -> None:
        self.name = name
        self.text = text
        self._lines: list[str] | None = None

    def line(self, number: int) -> str | None:
        """Line `number`, counted from 1; None where there is none."""
        if self._lines is None:
            # Not splitlines(): YAML counts only LF, CR LF and CR as ends of a line.
            self._lines = self.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return self._lines[number - 1] if 0 < number <= len(self._lines) else None

    def __repr__(self) -> str:
        return f"Source({self.name!r})"


@dataclass(frozen=True, slots=True)
class Place:
    """A position; line and column count from 1. Line 0 is the file as a whole."""

    source: Source
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}" if self.line else self.source.name


class Mark(NamedTuple):
    """Where an entry of a mapping or a list stands; lines and columns count from 0, as the parser gives them."""

    source: Source
    key_line: int
    key_column: int
    line: int
    column: int

    @property
    def key(self) -> Place:
        return Place(self.source, self.key_line + 1, self.key_column + 1)

    @property
    def value(self) -> Place:
        return Place(self.source, self.line + 1, self.column + 1)


class Map(dict[str, Value]):
    """A mapping of the config."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}


class Seq(list[Value]):
    """A list of the config."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        self.marks: list[Mark] = []


@dataclass(frozen=True, slots=True)
class Found:
    """As far as a key path leads in the file: the part of it that is written there, its mark, its value."""

    path: KeyPath
    mark: Mark | None
    value: Value
    whole: bool
    """True if the path led to its end."""


def locate(root: Value, path: KeyPath) -> Found:
    """Follow `path`, also through short forms: an item for a list, a list for the mapping around it."""
    mark: Mark | None = None
    value = root
    written: list[str | int] = []
    for part in path:
        if isinstance(value, Map) and part in value.marks:
            mark = value.marks[str(part)]
            value = value[str(part)]
        elif isinstance(value, Seq) and isinstance(part, int) and part < len(value):
            mark = value.marks[part]
            value = value[part]
        elif isinstance(value, (Map, Seq)) and isinstance(part, int) != isinstance(value, Seq):
            continue
        else:
            return Found(tuple(written), mark, value, False)
        written.append(part)
    return Found(tuple(written), mark, value, True)


def path_text(path: KeyPath) -> str:
    """`routes[2].match.hosts[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
