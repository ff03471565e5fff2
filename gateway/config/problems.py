"""What is wrong with a config, said as a compiler does: the place, the key, the fault, the line, a caret."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from gateway.config.lines import Place
from gateway.config.sources import Sources

MAX_SHOWN = 200
"""One slip in a generated file can give thousands of problems, which nobody reads."""

_SHOWN_WIDTH = 120
_TOKEN = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s,:\[\]{}#]+(?::[^\s,\[\]{}]+)*")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault. `key` is the key path (may be empty); `suggestion` is what to write instead (may be empty)."""

    place: Place
    key: str
    message: str
    suggestion: str = ""

    @property
    def file(self) -> str:
        return self.place.source.name

    @property
    def line(self) -> int:
        return self.place.line

    @property
    def column(self) -> int:
        return self.place.column

    @property
    def source_line(self) -> str:
        """The line of the file; empty when the fault has none."""
        return self.place.source.line(self.place.line) or "" if self.place.line else ""

    @property
    def headline(self) -> str:
        """`file:line:col: key: what is wrong (did you mean ...?)`."""
        key = f"{self.key}: " if self.key else ""
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{self.place}: " + _printable(f"{key}{self.message}{hint}")

    def render(self) -> str:
        """The headline, then the line with a caret under the place."""
        return "\n".join([self.headline, *self._picture()])

    def __str__(self) -> str:
        return self.render()

    def _picture(self) -> list[str]:
        line = self.source_line
        if not line.strip():
            return []
        start = max(self.column - 1, 0)
        token = _TOKEN.match(line, start)
        width = len(token[0]) if token else 1
        cut = max(0, start - _SHOWN_WIDTH // 2) if len(line) > _SHOWN_WIDTH else 0
        shown = _printable(line[cut : cut + _SHOWN_WIDTH])
        number = str(self.line)
        carets = "^" * max(1, min(width, len(shown) - (start - cut)))
        return [f"  {number} | {shown}", f"  {' ' * len(number)} | {' ' * (start - cut)}{carets}"]


class ConfigError(Exception):
    """The config cannot be used. `problems` are all the reasons, in the order of the file; `sources`: its files."""

    def __init__(self, problems: Iterable[Problem], sources: Sources | None = None) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        self.sources = sources or Sources()
        super().__init__(self.render())

    @property
    def texts(self) -> tuple[str, ...]:
        """Every problem with its line; of very many the first."""
        shown = tuple(problem.render() for problem in self.problems[:MAX_SHOWN])
        more = len(self.problems) - len(shown)
        return (*shown, f"... and {more} more") if more > 0 else shown

    def render(self) -> str:
        """The texts, for standard error."""
        return "\n".join(self.texts)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean orders?`, or nothing when no known name is near."""
    near = get_close_matches(word, known, n=1, cutoff=0.7) if len(word) < 100 else []
    return f"did you mean {near[0]}?" if near else ""


def _printable(text: str) -> str:
    """Without what could move a terminal's cursor; a tab is one column, as the parser counts."""
    return _UNPRINTABLE.sub(" ", text)
