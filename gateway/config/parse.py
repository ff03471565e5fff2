"""The text of one YAML 1.2 file as Map, Seq and scalars with their marks. The one door to ruamel.yaml.

The tree is built from the parser's events in one loop, so neither depth nor aliases can exhaust stack or memory.
"""

import re
from typing import Any, NoReturn

from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from gateway.config.lines import KeyPath, Map, Mark, Place, Seq, Source, Value, path_text
from gateway.config.problems import Problem
from gateway.config.scalars import ScalarError, Variables
from gateway.config.yaml_events import events

MAX_DEPTH = 40
"""The deepest key of the model is at 8; free JSON in `respond` may go deeper."""
MAX_ALIASED = 100_000
"""Values that aliases may add. Nine nested lists of nine aliases (the `billion laughs`) ask for 10^9."""

_UNQUOTED = re.compile(
    r"""(?:[\[{,:-]\s+|[\[{,]|^\s*)([^\s\[\]{}'",#&*!|>%@`](?:[^\[\]{}'",:#]|:(?=\S))*\{[^\s,}]*\}[^\s,\]}]*)"""
)
"""A plain scalar that runs into a brace, such as `GET /users/{id}` or `${X}`; the whole of it is the first group."""
_SURROGATE = re.compile("[\ud800-\udfff]").search
_FATAL = "the YAML cannot be read"


class FatalProblem(Exception):
    """The file cannot be read further than this."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.headline)
        self.problem = problem


def parse(source: Source, variables: Variables, problems: list[Problem]) -> Value:
    """The value of the file, or None when it is empty. Faults that allow to go on are added to `problems`.

    Raises FatalProblem for the others.
    """
    try:
        return _Builder(source, variables, problems).build()
    except MarkedYAMLError as error:
        raise FatalProblem(_syntax_problem(source, error)) from None
    except ReaderError as error:
        raise FatalProblem(_character_problem(source, error.position)) from None


class _Frame:
    """A mapping or list that is being filled; `key` is the key whose value comes next, `last_key` the newest one.

    `size` and `depth` say what an alias of it would add.
    """

    __slots__ = ("anchor", "container", "depth", "key", "key_place", "last_key", "size")

    def __init__(self, container: Map | Seq, anchor: str | None) -> None:
        self.container = container
        self.anchor = anchor
        self.key: str | None = None
        self.last_key = ""
        self.key_place = (0, 0)
        self.size = 1
        self.depth = 1

    @property
    def wants_key(self) -> bool:
        return self.key is None and self.container.__class__ is Map


class _Builder:
    def __init__(self, source: Source, variables: Variables, problems: list[Problem]) -> None:
        self._source = source
        self._variables = variables
        self._problems = problems
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Value, int, int]] = {}
        self._aliased = 0
        self._documents = 0
        self._root: Value = None

    def build(self) -> Value:
        for event in events(self._source.text):
            kind = event.__class__
            if kind is ScalarEvent:
                self._scalar(event)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                self._open(event, Map() if kind is MappingStartEvent else Seq())
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                self._close()
            elif kind is AliasEvent:
                self._alias(event)
            elif kind is DocumentStartEvent:
                self._document(event)
        return self._root

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._fail(event.start_mark, "a config is one YAML document; remove the `---`")
        if event.version not in (None, (1, 2)):
            self._report(event.start_mark, "the config is YAML 1.2; remove the %YAML line")

    def _scalar(self, event: Any) -> None:
        mark = event.start_mark
        if event.tag is not None:
            self._check_tag(event)
        if event.style == '"' and _SURROGATE(event.value):
            self._fail(mark, "half a surrogate pair is not a character", "write the character itself")
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.wants_key:
            self._key(frame, event, mark)
            return
        try:
            value = self._variables.scalar(event.value, event.style is None and event.tag is None)
        except ScalarError as error:
            self._report(mark, error.message, error.suggestion)
            value = ""
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1, 0)
        self._add(value, mark.line, mark.column)
        if frame is not None:
            frame.size += 1

    def _key(self, frame: _Frame, event: Any, mark: Any) -> None:
        if event.anchor is not None:
            self._fail(mark, "a key cannot have an anchor")
        key = event.value
        if "${" in key:
            try:
                key = str(self._variables.scalar(key, False))
            except ScalarError as error:
                self._report(mark, error.message, error.suggestion)
        if key == "<<" and event.style is None:
            self._report(mark, "merge keys (`<<`) are not YAML 1.2", "write what all share under `defaults:`")
        container = frame.container
        if isinstance(container, Map) and key in container.marks:
            line = container.marks[key].key_line + 1
            frame.key = frame.last_key = key
            self._report(mark, f"the key `{key}` is already set at line {line}", "keep one of the two")
        frame.key = frame.last_key = key
        frame.key_place = (mark.line, mark.column)

    def _open(self, event: Any, container: Map | Seq) -> None:
        mark = event.start_mark
        if event.tag is not None:
            self._check_tag(event)
        if self._stack and self._stack[-1].wants_key:
            self._fail(mark, "a mapping or list cannot be a key", _quote_hint(self._source, mark.line))
        if len(self._stack) >= MAX_DEPTH:
            self._fail(mark, f"nested deeper than {MAX_DEPTH} levels")
        self._add(container, mark.line, mark.column)
        self._stack.append(_Frame(container, event.anchor))

    def _close(self) -> None:
        frame = self._stack.pop()
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (frame.container, frame.size, frame.depth)
        if self._stack:
            self._grow(frame.size, frame.depth)

    def _grow(self, size: int, depth: int) -> None:
        outer = self._stack[-1]
        outer.size += size
        outer.depth = max(outer.depth, depth + 1)

    def _alias(self, event: Any) -> None:
        mark = event.start_mark
        if self._stack and self._stack[-1].wants_key:
            self._fail(mark, "an alias cannot be a key", 'quote it, such as "*"')
        found = self._anchors.get(event.anchor)
        if found is None:
            known = any(frame.anchor == event.anchor for frame in self._stack)
            fault = "contains itself" if known else "has no anchor before it"
            self._fail(mark, f"the alias *{event.anchor} {fault}", f'if it is text, quote it: "*{event.anchor}"')
        value, size, depth = found
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            self._fail(mark, f"aliases add more than {MAX_ALIASED} values")
        if len(self._stack) + depth > MAX_DEPTH:
            self._fail(mark, f"nested deeper than {MAX_DEPTH} levels")
        self._add(value, mark.line, mark.column)
        self._grow(size, depth)

    def _add(self, value: Value, line: int, column: int) -> None:
        """Put `value` where it belongs."""
        if not self._stack:
            self._root = value
            return
        frame = self._stack[-1]
        container = frame.container
        if isinstance(container, Map):
            key = frame.key
            assert key is not None
            container[key] = value
            container.marks[key] = Mark(self._source, *frame.key_place, line, column)
            frame.key = None
        else:
            container.append(value)
            container.marks.append(Mark(self._source, line, column, line, column))

    def _check_tag(self, event: Any) -> None:
        tag = str(event.tag)
        plain_string = event.__class__ is ScalarEvent and tag in ("tag:yaml.org,2002:str", "!", "!!str")
        if not plain_string:
            tag = tag.replace("tag:yaml.org,2002:", "!!")
            self._report(
                event.start_mark, f"the tag {tag} has no meaning here", 'text that begins with `!` is quoted: "!..."'
            )

    def _report(self, mark: Any, message: str, suggestion: str = "") -> None:
        self._problems.append(self._problem(mark, message, suggestion))

    def _fail(self, mark: Any, message: str, suggestion: str = "") -> NoReturn:
        raise FatalProblem(self._problem(mark, message, suggestion))

    def _problem(self, mark: Any, message: str, suggestion: str) -> Problem:
        place = Place(self._source, mark.line + 1, mark.column + 1)
        return Problem(place, path_text(self._path()), message, suggestion)

    def _path(self) -> KeyPath:
        """The key path of what is being read."""
        steps: list[str | int] = []
        for frame in self._stack:
            inner = frame is not self._stack[-1]
            if isinstance(frame.container, Seq):
                # The container that is being filled stands in its list already.
                steps.append(len(frame.container) - inner)
            elif inner or frame.key is not None:
                steps.append(frame.last_key)
        return tuple(steps)


def _syntax_problem(source: Source, error: MarkedYAMLError) -> Problem:
    endless = "end of stream" in str(error.problem)  # then the beginning is what helps
    mark = (error.context_mark if endless else None) or error.problem_mark or error.context_mark
    place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source, 1, 1)
    fault = _plain_words(str(error.problem or error.context or _FATAL))
    begun = error.context_mark
    if begun is not None and mark is not None and begun.line != mark.line:
        fault += f", {error.context} that begins at line {begun.line + 1}"
    hint = _quote_hint(source, mark.line) if mark else ""
    if not hint and begun is not None:
        hint = _quote_hint(source, begun.line)
    if not hint and (source.line(place.line) or "")[: place.column].endswith("\t"):
        hint = "indent with spaces"
    return Problem(place, "", f"{_FATAL}: {fault}", hint)


def _plain_words(fault: str) -> str:
    """ruamel.yaml's words without its inner names."""
    for words, plain in _WORDS.items():
        fault = fault.replace(words, plain)
    return fault


_WORDS = {
    "mapping values are not allowed here": (
        "a `:` that belongs to no key; is the indentation right, or is a text with `: ` not quoted?"
    ),
    "could not find expected ':'": "a key without its `:`",
    "expected the node content, but found": "expected a value, but found",
    "found unexpected end of stream": "a quoted text does not end",
    "'<stream end>'": "the end of the file",
    "'\\x00'": "the end of the file",
    "<block end>": "the end of the block",
    "'<document start>'": "`---`",
    "Python int too large to convert to C int": "an escape that is no character",
    "chr() arg not in range(0x110000)": "an escape that is no character",
}


def _quote_hint(source: Source, line: int) -> str:
    """What to do where a `{id}` or `${X}` stands unquoted in flow style."""
    found = _UNQUOTED.search(source.line(line + 1) or "")
    return f'quote it: "{found[1]}"' if found else ""


def _character_problem(source: Source, position: int) -> Problem:
    before = source.text[:position]
    line, column = before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1
    code = ord(source.text[position]) if position < len(source.text) else 0
    return Problem(Place(source, line, column), "", f"the character U+{code:04X} is not allowed in YAML")
