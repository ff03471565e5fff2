"""The access log: which requests get a line, and what stands in it.

The loop formats a line and hands it to the AccessLog, whose thread only writes: a thread that formats beside the
loop costs tail latency through the GIL.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.exchange import Exchange
from gateway.observe.access_lines import combined_line, json_fields, json_line
from gateway.observe.log_file import AccessLog

__all__ = [
    "AccessLog",
    "AccessLogSettings",
    "Formatter",
    "compile_formatter",
    "format_combined",
    "format_json",
]


@dataclass(frozen=True, slots=True)
class AccessLogSettings:
    """Where the lines go (`-` is standard output) and which requests get one."""

    path: str = "-"
    format: str = "json"
    """json | combined"""
    add: tuple[str, ...] = ()
    """More fields: `query`, `header:<name>` (of the request)."""
    drop: tuple[str, ...] = ()
    sample: float = 1.0
    """Share of the requests that are logged, 0 to 1; errors (status 500 and above) always are."""
    min_duration_s: float = 0.0
    """Requests that took less get no line, unless they are errors."""
    only_errors: bool = False

    @property
    def headers(self) -> tuple[str, ...]:
        """Lower-case names of the request fields to log: what belongs into `Exchange.extra`."""
        return tuple(name[7:].lower() for name in self.add if name.startswith("header:"))


Formatter = Callable[[Exchange, int, float], bytes | None]
"""Exchange, worker and wall time to the line, newline included; None for an exchange that gets no line."""


def format_json(exchange: Exchange, worker: int, now_wall: float) -> bytes:
    """One JSON object with every field."""
    return json_line(json_fields(exchange, worker, now_wall))


def format_combined(exchange: Exchange, worker: int, now_wall: float) -> bytes:
    """Apache's combined format."""
    return combined_line(exchange, now_wall, exchange.client_ip, [exchange.path, exchange.user_agent or "-"])


def compile_formatter(settings: AccessLogSettings, rng: Callable[[], float] = random.random) -> Formatter:
    """The formatter of these settings, with everything that does not depend on the exchange decided here."""
    changed = settings.add or settings.drop
    if settings.format == "combined":
        formatter = _edited_combined(settings) if changed else format_combined
    else:
        formatter = _edited_json(settings) if changed else format_json
    if settings.sample >= 1.0 and not settings.min_duration_s and not settings.only_errors:
        return formatter
    return _choosing(formatter, settings, rng)


def _choosing(formatter: Formatter, settings: AccessLogSettings, rng: Callable[[], float]) -> Formatter:
    sample, min_duration_s, only_errors = settings.sample, settings.min_duration_s, settings.only_errors

    def choose(exchange: Exchange, worker: int, now_wall: float) -> bytes | None:
        failed = exchange.status >= 500 or exchange.reason == "upstream_truncated"
        if not failed and (
            only_errors
            or exchange.ended_at - exchange.started_at < min_duration_s
            or (sample < 1.0 and rng() >= sample)
        ):
            return None
        return formatter(exchange, worker, now_wall)

    return choose


def _edited_json(settings: AccessLogSettings) -> Formatter:
    with_query, headers, drop = "query" in settings.add, settings.headers, frozenset(settings.drop)

    def edited(exchange: Exchange, worker: int, now_wall: float) -> bytes:
        fields = json_fields(exchange, worker, now_wall)
        for name in drop:
            fields.pop(name, None)
        if with_query:
            fields["query"] = exchange.query
        extra = exchange.extra or {}
        for name in headers:
            fields[f"header:{name}"] = extra.get(name)
        return json_line(fields)

    return edited


def _edited_combined(settings: AccessLogSettings) -> Formatter:
    """A dropped field shows as `-`; `query` goes behind the path, headers behind the user agent."""
    with_query, headers, drop = "query" in settings.add, settings.headers, frozenset(settings.drop)

    def edited(exchange: Exchange, worker: int, now_wall: float) -> bytes:
        path = "-" if "path" in drop else exchange.path
        if with_query and exchange.query is not None:
            path = f"{path}?{exchange.query}"
        extra = exchange.extra or {}
        agent = "-" if "user_agent" in drop else exchange.user_agent or "-"
        texts = [path, agent, *(extra.get(name) or "-" for name in headers)]
        return combined_line(exchange, now_wall, "-" if "client_ip" in drop else exchange.client_ip, texts)

    return edited
