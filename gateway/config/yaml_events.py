"""ruamel.yaml's pure parser as a stream of events, with its hot spots made short.

ruamel.yaml is the authority on the grammar: every override here gives what the inherited method gives for the usual
case, from one regular expression where that looks at characters one by one, and leaves all else to it. A test
compares the two. This makes a config of 10 000 routes load in half the time.
"""

import re
import string
from collections.abc import Iterator
from typing import Any

from ruamel.yaml.docinfo import DocInfo
from ruamel.yaml.error import FileMark, MarkedYAMLError
from ruamel.yaml.events import ScalarEvent
from ruamel.yaml.parser import Parser
from ruamel.yaml.reader import Reader
from ruamel.yaml.scanner import Scanner
from ruamel.yaml.tokens import ScalarToken

_BREAKS = "\\n\\0\\r\\x85\\u2028\\u2029"
_BLOCK_GAP = re.compile(f"[ ]*(?:#[^{_BREAKS}]*)?").match
_FLOW_GAP = re.compile(f"[ \\t]*(?:#[^{_BREAKS}]*)?").match
_BLOCK_WORD = f"(?:[^ \\t{_BREAKS}:]|:(?![ \\t{_BREAKS}]))+"
_FLOW_WORD = f"(?:[^ \\t{_BREAKS},\\[\\]{{}}:]|:(?![ \\t{_BREAKS}]))+"
_BLOCK_PLAIN = re.compile(f"{_BLOCK_WORD}(?: +(?!#){_BLOCK_WORD})*").match
_FLOW_PLAIN = re.compile(f"{_FLOW_WORD}(?: +(?!#){_FLOW_WORD})*").match
_ONE_BREAK = re.compile(f"\\n +(?=[^ {_BREAKS}])").match
_PLAIN_STARTS = frozenset(string.ascii_letters + string.digits + "/$_")


def events(text: str) -> Iterator[Any]:
    """The parser's events. Raises YAMLError."""
    parser = _Events(text)
    try:
        while (event := parser.get_event()) is not None:
            yield event
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        # ruamel.yaml lets these through on hopeless input, such as an escape beyond U+10FFFF.
        raise MarkedYAMLError(problem=str(error) or type(error).__name__, problem_mark=parser.get_mark()) from error
    finally:
        parser.dispose()
        parser.reader = parser.scanner = parser.resolver = parser.loader = None


class _Events(Reader, Scanner, Parser):
    """Reader, scanner and parser in one object; ruamel.yaml's own is a chain of look-ups for every character."""

    reader: Any = None
    scanner: Any = None
    resolver: Any = None
    processing_version = (1, 2)
    scanner_processing_version = (1, 2)

    def __init__(self, text: str) -> None:
        self.comment_handling = None
        self.doc_infos = [DocInfo()]
        self.reader = self.scanner = self.resolver = self
        self._ready = False
        """True while the next token is known, which stays so until it is taken."""
        self._last_mark = FileMark("", -1, 0, 0)
        Reader.__init__(self, text, loader=self)
        Scanner.__init__(self, loader=self)
        Parser.__init__(self, loader=self)

    def get_mark(self) -> Any:
        if self._last_mark.index != self.index:
            self._last_mark = FileMark("", self.index, self.line, self.column)
        return self._last_mark

    def peek(self, index: int = 0) -> str:
        return self.buffer[self.pointer + index]

    def check_token(self, *choices: Any) -> bool:
        token = self.peek_token()
        return not choices or isinstance(token, choices)

    def peek_token(self) -> Any:
        if not self._ready:
            while self.need_more_tokens():
                self.fetch_more_tokens()
            self._ready = True
        return self.tokens[0] if self.tokens else None

    def get_token(self) -> Any:
        self.peek_token()
        self._ready = False
        self.tokens_taken += 1
        return self.tokens.pop(0)

    def fetch_more_tokens(self) -> Any:
        self.scan_to_next_token()
        self.stale_possible_simple_keys()
        self.unwind_indent(self.column)
        if self.buffer[self.pointer] in _PLAIN_STARTS:
            return self.fetch_plain()
        return super().fetch_more_tokens()

    def scan_to_next_token(self) -> None:
        gap = _FLOW_GAP if self.flow_context else _BLOCK_GAP
        while True:
            found = gap(self.buffer, self.pointer)
            self._advance(found.end() - self.pointer if found else 0)
            if not self.scan_line_break():
                return
            if not self.flow_context:
                self.allow_simple_key = True

    def scan_plain(self) -> Any:
        plain = _FLOW_PLAIN if self.flow_context else _BLOCK_PLAIN
        start_mark = end_mark = self.get_mark()
        indent = self.indent + 1
        chunks: list[str] = []
        spaces: list[str] | None = []
        while self.buffer[self.pointer] != "#":
            found = plain(self.buffer, self.pointer)
            if not found:
                break
            self.allow_simple_key = False
            chunks.extend(spaces or ())
            chunks.append(found[0])
            self._advance(len(found[0]))
            end_mark = self.get_mark()
            spaces = self.scan_plain_spaces(indent, start_mark)
            if not spaces or (not self.flow_context and self.column < indent):
                break
        return ScalarToken("".join(chunks), True, start_mark, end_mark)

    def scan_plain_spaces(self, indent: Any, start_mark: Any) -> Any:
        found = _ONE_BREAK(self.buffer, self.pointer)
        if not found:
            return super().scan_plain_spaces(indent, start_mark)
        self.allow_simple_key = True
        self._advance(len(found[0]))
        self.line += 1
        self.column = len(found[0]) - 1
        return [" "]

    def parse_node(self, block: bool = False, indentless_sequence: bool = False) -> Any:
        token = self.peek_token()
        if token.__class__ is not ScalarToken:
            return super().parse_node(block, indentless_sequence)
        self.get_token()
        self.state = self.states.pop()
        implicit = (True, False) if token.plain else (False, True)
        return ScalarEvent(None, None, implicit, token.value, token.start_mark, token.end_mark, style=token.style)

    def _advance(self, length: int) -> None:
        """Go past characters of which none ends a line."""
        self.pointer += length
        self.index += length
        self.column += length
