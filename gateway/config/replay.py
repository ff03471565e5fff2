"""The requests of an access log, routed by two configs without network: which of them would go elsewhere."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from gateway.config.answer_text import answer_text
from gateway.config.asked import host_name
from gateway.config.explain import route_table
from gateway.config.settings import GatewaySettings
from gateway.core.json import loads
from gateway.decide.route.path import normalise_path
from gateway.decide.route.table import Match, Miss, RouteTable
from gateway.pipeline.settings import RouteSettings

SAMPLES = 3
"""Requests shown of each move."""
MOVES = 1000
"""Moves told one by one; more only add to the total."""
LINE_BYTES = 64 * 1024
"""Longer lines are none of an access log of ours, and are not held in memory."""

Found = Match[RouteSettings] | Miss


@dataclass(slots=True)
class Move:
    """Requests that went to one place and would go to another."""

    old: str
    new: str
    requests: int = 0
    samples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Replayed:
    """Counts of lines. `undecided`: who takes them hangs on `missing`, fields that the log does not have."""

    requests: int = 0
    moved: int = 0
    undecided: int = 0
    unreadable: int = 0
    missing: tuple[str, ...] = ()
    """As `access_log.fields.add` names them: `query`, `header:<name>`."""
    moves: list[Move] = field(default_factory=list)
    """Most requests first."""


def replay(old: GatewaySettings, new: GatewaySettings, lines: Iterable[bytes]) -> Replayed:
    """Route each line by both. Time grows with the lines, memory does not."""
    tables = route_table(old), route_table(new)
    same = _routing(old) == _routing(new)
    needed = _needed(old) | _needed(new)
    told = Replayed()
    moves: dict[tuple[str, str], Move] = {}
    missing: set[str] = set()
    for line in lines:
        try:
            fields = _fields(line)
            was, now = (_find(table, fields) for table in tables)
        except ValueError:
            told.unreadable += 1
            continue
        told.requests += 1
        if not (same or (was.cacheable and now.cacheable) or needed <= fields.keys()):
            told.undecided += 1
            missing |= needed - fields.keys()
        elif _differ(was, now):
            told.moved += 1
            _keep(moves, _place(was), _place(now), fields)
    told.missing = tuple(sorted(missing))
    told.moves = sorted(moves.values(), key=lambda move: -move.requests)
    return told


def lines_of(log: IO[bytes]) -> Iterator[bytes]:
    """The lines of `log`, one at a time; of one that is too long only its beginning."""
    while line := log.readline(LINE_BYTES):
        yield line
        while line and not line.endswith(b"\n"):
            line = log.readline(LINE_BYTES)


def _routing(settings: GatewaySettings) -> dict[str, tuple[object, object]]:
    return {route.name: (route.match, route.answer) for route in settings.routes}


def _needed(settings: GatewaySettings) -> set[str]:
    """The fields that conditions of routes look at and that a log has only where it is told to."""
    needed = {f"header:{name}" for route in settings.routes for name, _ in route.match.headers}
    return needed | ({"query"} if any(route.match.query for route in settings.routes) else set())


def _fields(line: bytes) -> dict[str, Any]:
    """A line with method, host and path as matching sees them. Raises ValueError."""
    fields = loads(line)
    if not isinstance(fields, dict):
        raise ValueError("not a mapping")
    method, host, path = fields.get("method"), fields.get("host") or "", fields.get("path")
    if not (isinstance(method, str) and isinstance(host, str) and isinstance(path, str)):
        raise ValueError("no request")
    return fields | {"host": host_name(host), "path": normalise_path(path)}


def _find(table: RouteTable[RouteSettings], fields: Mapping[str, Any]) -> Found:
    def header(name: str) -> str | None:
        value = fields.get(f"header:{name}")
        return value if isinstance(value, str) else None

    query = fields.get("query")
    return table.find(
        fields["method"], fields["host"], fields["path"], header, query if isinstance(query, str) else None
    )


def _differ(was: Found, now: Found) -> bool:
    """Another route, the same with another answer, or another refusal."""
    if isinstance(was, Miss) or isinstance(now, Miss):
        return not (isinstance(was, Miss) and isinstance(now, Miss) and bool(was.allow) == bool(now.allow))
    return was.value.name != now.value.name or was.value.answer != now.value.answer


def _place(found: Found) -> str:
    if isinstance(found, Miss):
        return "405 method_not_allowed" if found.allow else "404 no_route"
    return f"{found.value.name} ({answer_text(found.value)})"


def _keep(moves: dict[tuple[str, str], Move], old: str, new: str, fields: Mapping[str, Any]) -> None:
    new = f"{new}, in another way" if new == old else new
    move = moves.get((old, new))
    if move is None:
        if len(moves) == MOVES:
            return
        move = moves[old, new] = Move(old, new)
    move.requests += 1
    if len(move.samples) < SAMPLES:
        move.samples.append(f"{fields['method']} {fields['host']}{fields['path']}")
