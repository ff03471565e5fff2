"""The text of one YAML 1.2 file as Map, Seq and scalars with their marks. The one door to ruamel.yaml.

The tree is built from the parser's events in one loop, so neither depth nor aliases can exhaust stack or memory.
"""

import re
from typing import Any, NoReturn

from ruamel.yaml.error import MarkedYAMLError, YAMLError
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

from gateway.config.lines import Map, Mark, Place, Seq, Source, Value
from gateway.config.problems import Problem
from gateway.config.scalars import ScalarError, Variables
from gateway.config.yaml_events import events

MAX_DEPTH = 40
"""The deepest key of the model is at 8; free JSON in `respond` may go deeper."""
MAX_ALIASED = 100_000
"""Values that aliases may add. Nine nested lists of nine aliases (the `billion laughs`) ask for 10^9."""

_UNQUOTED = re.compile(r"[^\s,\[{:'\"][^\s,'\"]*\{|\$\{")
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
    except (YAMLError, ValueError, AttributeError, AssertionError, IndexError) as error:
        # ruamel.yaml lets some of these through on hopeless input (a bad \U escape, a bad %YAML line).
        message = f"{_FATAL}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise FatalProblem(Problem(Place(source, 1, 1), "", message)) from None


class _Frame:
    """A mapping or list that is being filled; `key` is the key whose value comes next."""

    __slots__ = ("anchor", "container", "key", "key_place", "size")

    def __init__(self, container: Map | Seq, anchor: str | None) -> None:
        self.container = container
        self.anchor = anchor
        self.key: str | None = None
        self.key_place = (0, 0)
        self.size = 1


class _Builder:
    def __init__(self, source: Source, variables: Variables, problems: list[Problem]) -> None:
        self._source = source
        self._variables = variables
        self._problems = problems
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Value, int]] = {}
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
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.key is None and frame.container.__class__ is Map:
            self._key(frame, event, mark)
            return
        try:
            value = self._variables.scalar(event.value, event.style is None and event.tag is None)
        except ScalarError as error:
            self._report(mark, error.message, error.suggestion)
            value = ""
        self._add(value, mark.line, mark.column, 1, event.anchor)

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
            self._report(mark, f"the key `{key}` is already set at line {line}", "keep one of the two")
        frame.key = key
        frame.key_place = (mark.line, mark.column)

    def _open(self, event: Any, container: Map | Seq) -> None:
        mark = event.start_mark
        if event.tag is not None:
            self._check_tag(event)
        if self._stack and self._stack[-1].key is None and isinstance(self._stack[-1].container, Map):
            self._fail(mark, "a mapping or list cannot be a key", _quote_hint(self._source, mark.line))
        if len(self._stack) >= MAX_DEPTH:
            self._fail(mark, f"nested deeper than {MAX_DEPTH} levels")
        self._add(container, mark.line, mark.column, 0, None)
        self._stack.append(_Frame(container, event.anchor))

    def _close(self) -> None:
        frame = self._stack.pop()
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (frame.container, frame.size)
        if self._stack:
            self._stack[-1].size += frame.size

    def _alias(self, event: Any) -> None:
        mark = event.start_mark
        if self._stack and self._stack[-1].key is None and isinstance(self._stack[-1].container, Map):
            self._fail(mark, "an alias cannot be a key", 'quote it, such as "*"')
        found = self._anchors.get(event.anchor)
        if found is None:
            known = any(frame.anchor == event.anchor for frame in self._stack)
            fault = "contains itself" if known else "has no anchor before it"
            self._fail(mark, f"the alias *{event.anchor} {fault}", f'if it is text, quote it: "*{event.anchor}"')
        value, size = found
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            self._fail(mark, f"aliases add more than {MAX_ALIASED} values")
        self._add(value, mark.line, mark.column, size, None)

    def _add(self, value: Value, line: int, column: int, size: int, anchor: str | None) -> None:
        """Put `value` where it belongs; `size` counts what an alias of it would repeat."""
        if anchor is not None:
            self._anchors[anchor] = (value, size)
        if not self._stack:
            self._root = value
            return
        frame = self._stack[-1]
        frame.size += size
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
            self._report(
                event.start_mark, f"the tag {tag} has no meaning here", 'text that begins with `!` is quoted: "!..."'
            )

    def _report(self, mark: Any, message: str, suggestion: str = "") -> None:
        self._problems.append(self._problem(mark, message, suggestion))

    def _fail(self, mark: Any, message: str, suggestion: str = "") -> NoReturn:
        raise FatalProblem(self._problem(mark, message, suggestion))

    def _problem(self, mark: Any, message: str, suggestion: str) -> Problem:
        keys = [frame.key for frame in self._stack if frame.key is not None]
        return Problem(Place(self._source, mark.line + 1, mark.column + 1), ".".join(keys), message, suggestion)


def _syntax_problem(source: Source, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
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
    if fault == "mapping values are not allowed here":
        return "a `:` that belongs to no key; is the indentation right, or is a text with `: ` not quoted?"
    fault = fault.replace("could not find expected ':'", "a key without its `:`")
    return fault.replace("<block end>", "the end of the block").replace("<document start>", "the end of the file")


def _quote_hint(source: Source, line: int) -> str:
    """What to do where a `{id}` or `${X}` stands unquoted in flow style."""
    text = source.line(line + 1) or ""
    found = _UNQUOTED.search(text)
    if not found:
        return ""
    end = text.find("}", found.start())
    word = text[found.start() : end + 1] if end >= 0 else found[0] + "...}"
    return f'quote it: "{word}"'


def _character_problem(source: Source, position: int) -> Problem:
    before = source.text[:position]
    line, column = before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1
    code = ord(source.text[position]) if position < len(source.text) else 0
    return Problem(Place(source, line, column), "", f"the character U+{code:04X} is not allowed in YAML")
