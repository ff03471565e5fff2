"""The document of /status as tables for people."""

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.runtime.status_words import circuit, duration, hedges, limit, overload, retries, targets_up

Document = dict[str, Any]
Column = tuple[str, Callable[[Document], object]]

_WORKERS: Sequence[Column] = (
    ("worker", lambda row: row["slot"]),
    ("pid", lambda row: row["pid"]),
    ("state", lambda row: row["state"]),
    ("overload", lambda row: overload(row["overload"])),
    ("connections", lambda row: row["connections"]),
    ("buffered", lambda row: row["buffered_bytes"]),
)
_LISTENERS: Sequence[Column] = (
    ("listener", lambda row: row["address"]),
    ("tls", lambda row: "yes" if row["tls"] else "no"),
    ("open", lambda row: row["open"]),
    ("connections", lambda row: row["connections"]),
    ("rejected", lambda row: row["rejected"]),
)
_ROUTES: Sequence[Column] = (
    ("route", lambda row: row["name"]),
    ("match", lambda row: row["match"]),
    ("answer", lambda row: row["answer"]),
    ("requests", lambda row: row["requests"]),
    ("5xx", lambda row: row["errors"]),
    ("in flight", lambda row: row["in_flight"]),
    ("p50 ms", lambda row: row["p50_ms"]),
    ("p99 ms", lambda row: row["p99_ms"]),
)
_UPSTREAMS: Sequence[Column] = (
    ("upstream", lambda row: row["name"]),
    ("balance", lambda row: row["balance"]),
    ("targets up", lambda row: targets_up(row) + (" (all bad, so all are used)" if row["panic"] else "")),
    ("circuit", lambda row: circuit(row["breaker"])),
    ("limit", lambda row: limit(row["limiter"])),
    ("waiting", lambda row: row["limiter"]["waiting"] if row["limiter"] else None),
    ("retries", lambda row: retries(row["retries"])),
    ("hedges", lambda row: hedges(row["hedges"])),
    ("p50 ms", lambda row: row["p50_ms"]),
    ("p99 ms", lambda row: row["p99_ms"]),
)
_QUEUES: Sequence[Column] = (
    ("queue", lambda row: row["name"]),
    ("weight", lambda row: row["weight"]),
    ("waiting", lambda row: row["depth"]),
    ("oldest s", lambda row: row["oldest_s"]),
    ("refused", lambda row: sum(row["rejected"].values())),
    ("p50 ms", lambda row: row["wait_p50_ms"]),
    ("p99 ms", lambda row: row["wait_p99_ms"]),
)
_TARGETS: Sequence[Column] = (
    ("upstream", lambda row: row["upstream"]),
    ("target", lambda row: row["address"]),
    ("weight", lambda row: row["weight"]),
    ("up", lambda row: {True: "yes", False: "no"}.get(row["up"])),
    ("state", lambda row: row["state"].replace("_", " ")),
    ("why", lambda row: row["why"]),
    ("requests", lambda row: row["requests"]),
    ("errors", lambda row: row["errors"]),
    ("in flight", lambda row: row["in_flight"]),
    ("idle", lambda row: row["connections"]["idle"]),
)
_EXECUTORS: Sequence[Column] = (
    ("executor", lambda row: row["name"]),
    ("made of", lambda row: f"{row['limit']} {row['kind']}"),
    ("degraded", lambda row: "yes" if row["degraded"] else "no"),
    ("busy", lambda row: row["busy"]),
    ("idle", lambda row: row["idle"]),
    ("abandoned", lambda row: row["abandoned"]),
    ("waiting", lambda row: row["waiting"]),
    ("ok", lambda row: row["calls"].get("ok", 0)),
    ("refused", lambda row: row["calls"].get("rejected", 0)),
    ("too late", lambda row: row["calls"].get("timeout", 0) + row["calls"].get("abandoned", 0)),
    ("raised", lambda row: row["calls"].get("error", 0)),
    ("p99 ms", lambda row: row["p99_ms"]),
)


def print_status(status: Document, console: Console | None = None) -> None:
    """Print `status`; on a pipe the tables are as wide as they need, so that nothing is cut."""
    console = console or Console()
    if not console.is_terminal:
        console.width = 400
    total = status["total"]
    console.print(
        f"floodgate {status['version']}: [bold]{status['state']}[/] for {duration(status['uptime_s'])}, "
        f"{total['requests']} requests ({total['errors']} errors), {total['in_flight']} in flight, "
        f"{total['connections']} connections; config {status['config']['path']}",
        highlight=False,
        soft_wrap=True,
    )
    targets = [{"upstream": each["name"], **target} for each in status["upstreams"] for target in each["targets"]]
    for columns, rows in (
        (_WORKERS, status["workers"]),
        (_LISTENERS, status["listeners"]),
        (_ROUTES, status["routes"]),
        (_UPSTREAMS, status["upstreams"]),
        (_TARGETS, targets),
        (_QUEUES, status["queues"]),
        (_EXECUTORS, status["executors"]),
    ):
        if rows:
            console.print(table(columns, rows))


def table(columns: Sequence[Column], rows: Sequence[Document]) -> Table:
    """A table as wide as it needs to be; numbers stand right."""
    found = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name, value in columns:
        numbers = all(isinstance(value(row), int | float | None) for row in rows)
        found.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        cells = [value(row) for _, value in columns]
        found.add_row(*(Text("-" if cell is None else str(cell)) for cell in cells))
    return found
