"""Results as text for a person at a terminal and as the table of the README."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import Figures
from loads import Limit, Load, median_figures, median_ratio

Rounds = Mapping[str, Sequence[Figures]]
"""The figures of each round, by proxy."""

_SHORT = {"nginx": "nginx", "haproxy": "HAProxy", "caddy": "Caddy", "aiohttp": "aiohttp"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One limit, measured."""

    limit: Limit
    value: float

    @property
    def passed(self) -> bool:
        return self.value <= self.limit.must

    def __str__(self) -> str:
        against = f" times {_SHORT[self.limit.peer]}" if self.limit.peer else ""
        word = "PASS" if self.passed else "FAIL"
        aim = "met" if self.value <= self.limit.aim else "missed"
        return (
            f"{word}  {self.limit.figure} {self.value:.2f}{against}"
            f" (must {self.limit.must:g}; aim {self.limit.aim:g} {aim})"
        )


def verdicts(load: Load, rounds: Rounds, subject: str) -> list[Verdict]:
    """Those of the limits whose peer was measured."""
    found = []
    for limit in load.limits:
        if not limit.peer:
            found.append(Verdict(limit, median_figures(list(rounds[subject]))[limit.figure]))
        elif limit.peer in rounds:
            ratio = median_ratio(list(rounds[subject]), list(rounds[limit.peer]), limit.figure)
            found.append(Verdict(limit, ratio))
    return found


def text(load: Load, rounds: Rounds, subjects: Sequence[str]) -> str:
    """A table of all proxies, the ratios to each, and the verdicts."""
    columns = list(dict.fromkeys(name for each in rounds.values() for name in each[0]))
    heads = [*columns, *(f"{name}/" for name in subjects)]
    lines = [f"{load.name}: {load.title}", _row("", heads, heads)]
    for name, figures in rounds.items():
        medians = median_figures(list(figures))
        cells = [_number(medians[column]) if column in medians else "-" for column in columns]
        for subject in subjects:
            known = name != subject and load.shows in medians and load.shows in rounds[subject][0]
            ratio = median_ratio(list(rounds[subject]), list(figures), load.shows) if known else 0.0
            cells.append(f"{ratio:.2f}" if ratio else "")
        lines.append(_row(name, heads, cells))
    for subject in subjects:
        lines += [f"  {subject}: {verdict}" for verdict in verdicts(load, rounds, subject)]
    return "\n".join(lines) + "\n"


def _row(head: str, columns: Sequence[str], cells: Sequence[str]) -> str:
    return f"  {head:<10}" + "".join(
        f"{cell:>{max(11, 2 + len(column))}}" for column, cell in zip(columns, cells, strict=True)
    )


def _number(value: float) -> str:
    """Three digits say all that a shared machine can."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


_UNITS = {
    "cpu_us": "us CPU",
    "p99_ms": "ms p99",
    "added_us": "us",
    "idle_kb": "kB",
    "rss_mb": "MB",
    "growth": "times",
    "start_s": "s to load",
}


def markdown(results: Mapping[str, tuple[Load, Rounds]], subjects: Sequence[str], peers: Sequence[str]) -> str:
    """The table of the README: a load a row, a proxy a column, and for each gateway its ratios."""
    heads = ["load", *subjects, *(_SHORT[peer] for peer in peers), *(f"{subject} (must)" for subject in subjects)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for load, rounds in results.values():
        cells = [f"{load.title}, {_UNITS[load.shows]}"]
        for name in (*subjects, *peers):
            medians = median_figures(list(rounds[name])) if name in rounds else {}
            cells.append(_number(medians[load.shows]) if load.shows in medians else "")
        cells += ["; ".join(map(_ratio, verdicts(load, rounds, subject))) for subject in subjects]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _ratio(verdict: Verdict) -> str:
    limit = verdict.limit
    against = f" x {_SHORT[limit.peer]}" if limit.peer else f" {_UNITS[limit.figure]}"
    return f"{verdict.value:.2f}{against} ({limit.must:g}){'' if verdict.passed else ' missed'}"
