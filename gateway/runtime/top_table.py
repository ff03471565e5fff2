"""What `gateway top` shows: one screen of tables, the busiest first."""

from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.runtime.status_words import duration, limit, overload, targets_up
from gateway.runtime.top_rates import Between, Document

_FIXED_LINES = 6
"""The first line, a note, and the heads of four tables."""
_LEAST = 3
"""Rows of routes and of upstreams, however small the screen."""
_STYLES = {"open": "bold red", "half-open": "yellow", "hung": "bold red"}

Column = tuple[str, Callable[[Document], str]]


def screen(between: Between, lines: int, note: str = "") -> RenderableType:
    """All of it, in so many lines where that is possible; `note` stands at the top."""
    routes, upstreams = between.routes(), between.upstreams()
    queues, workers = between.queues(), between.workers()
    left = lines - _FIXED_LINES - len(queues) - len(workers)
    most = max(_LEAST, left - min(len(upstreams), left // 2))
    parts: list[RenderableType] = [_head(between, note), _table(_ROUTES, routes, most)]
    most = max(_LEAST, left - min(len(routes), most))
    for columns, rows, shown in (
        (_UPSTREAMS, upstreams, most),
        (_QUEUES, queues, len(queues)),
        (_WORKERS, workers, len(workers)),
    ):
        if rows:
            parts.append(_table(columns, rows, shown))
    return Group(*parts)


def _head(between: Between, note: str) -> Text:
    status, total = between.now.status, between.total()
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"floodgate {status['version']} ")
    text.append(status["state"], "bold green" if status["state"] == "serving" else "bold yellow")
    text.append(f" for {duration(status['uptime_s'])}: {_rate(total['per_s'])} requests/s, ")
    text.append(f"{_rate(total['errors_per_s'])} errors/s", "red" if total["errors_per_s"] else "")
    text.append(f", p50 {_ms(total['p50_ms'])} ms, p99 {_ms(total['p99_ms'])} ms, ")
    text.append(f"{status['total']['in_flight']} in flight, {status['total']['connections']} connections")
    if note:
        text.append(f"\n{note}", "bold red")
    return text


def _table(columns: Sequence[Column], rows: Sequence[Document], most: int) -> Table:
    more = len(rows) - most
    found = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for place, (name, _) in enumerate(columns):
        title = f"{name} (+{more})" if more > 0 and not place else name
        found.add_column(title, justify="left" if name in _WORDS else "right", no_wrap=True, overflow="ellipsis")
    for row in rows[:most]:
        cells = [value(row) for _, value in columns]
        found.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
    return found


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 or not value else f"{value:.1f}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _mib(value: float | None) -> str:
    return "-" if value is None else f"{value / 2**20:,.0f}"


def _why(upstream: Document) -> str:
    """Of the circuit, else of the first target that is left out."""
    for circuit in upstream["breaker"]["workers"] if upstream["breaker"] else ():
        if circuit.get("why"):
            return str(circuit["why"])
    for target in upstream["targets"]:
        if target["state"] in ("down", "ejected", "drained"):
            return f"{target['address']} {target['state']}: {target['why'] or '-'}"
    return "-"


_TRAFFIC: Sequence[Column] = (
    ("/s", lambda row: _rate(row["per_s"])),
    ("errors/s", lambda row: _rate(row["errors_per_s"])),
    ("in flight", lambda row: str(row["in_flight"])),
    ("p50 ms", lambda row: _ms(row["p50_ms"])),
    ("p99 ms", lambda row: _ms(row["p99_ms"])),
)
_ROUTES: Sequence[Column] = (("route", lambda row: row["name"]), *_TRAFFIC)
_UPSTREAMS: Sequence[Column] = (
    ("upstream", lambda row: row["name"]),
    *_TRAFFIC,
    ("up", targets_up),
    ("circuit", lambda row: row["breaker"]["state"].replace("_", "-") if row["breaker"] else "-"),
    ("limit", lambda row: limit(row["limiter"]) or "-"),
    ("waiting", lambda row: str(row["limiter"]["waiting"]) if row["limiter"] else "-"),
    ("why", _why),
)
_QUEUES: Sequence[Column] = (
    ("queue", lambda row: row["name"]),
    ("waiting", lambda row: str(row["depth"])),
    ("oldest s", lambda row: "-" if row["oldest_s"] is None else f"{row['oldest_s']:.1f}"),
    ("refused/s", lambda row: _rate(row["refused_per_s"])),
)
_WORKERS: Sequence[Column] = (
    ("worker", lambda row: str(row["slot"])),
    ("state", lambda row: row["state"]),
    ("cpu %", lambda row: "-" if row["cpu"] is None else f"{row['cpu'] * 100:.0f}"),
    ("MiB", lambda row: _mib(row["memory"])),
    ("connections", lambda row: str(row["connections"])),
    ("overload", lambda row: overload(row["overload"]) or "-"),
)
_WORDS = ("route", "upstream", "queue", "worker", "state", "circuit", "limit", "why", "overload", "up")
"""Columns that stand left; the others are numbers."""
