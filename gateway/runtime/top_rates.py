"""What happened between two looks at a running gateway: rates and quantiles, for `gateway top`."""

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from gateway.admin.totals import Distribution
from gateway.observe.metrics import BUCKETS

Document = dict[str, Any]

_ROUTE = "gateway_http_request_duration_seconds_bucket"
_UPSTREAM = "gateway_upstream_request_duration_seconds_bucket"
_ANSWERS = "gateway_upstream_requests_total"
_CPU = "gateway_process_cpu_seconds_total"
_MEMORY = "gateway_process_resident_memory_bytes"
_SAMPLE = re.compile(rf"^({_ROUTE}|{_UPSTREAM}|{_ANSWERS}|{_CPU}|{_MEMORY})\{{(.*)\}} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Look:
    """One moment: the document of /status, and what /metrics says beside it."""

    at: float
    """Seconds on any clock."""
    status: Document
    buckets: dict[tuple[str, str], list[float]]
    """Cumulative, of `route` and `upstream` by name."""
    bad: dict[str, float]
    """Answers of 500 and above, by upstream."""
    cpu_s: dict[str, float]
    """By process: the number of a worker, or `supervisor`."""
    memory: dict[str, float]
    """Bytes, by process."""


def look(at: float, status: Document, metrics: str) -> Look:
    """`metrics` is the text of /metrics."""
    buckets: dict[tuple[str, str], list[float]] = defaultdict(list)
    bad: dict[str, float] = defaultdict(float)
    cpu_s: dict[str, float] = {}
    memory: dict[str, float] = {}
    for family, text, value in _SAMPLE.findall(metrics):
        labels = dict(_LABEL.findall(text))
        if family == _ROUTE:
            buckets["route", labels["route"]].append(float(value))
        elif family == _UPSTREAM:
            buckets["upstream", labels["upstream"]].append(float(value))
        elif family == _ANSWERS:
            bad[labels["upstream"]] += float(value) if labels["code"] >= "500" else 0.0
        elif family == _CPU:
            cpu_s[labels["process"]] = float(value)
        else:
            memory[labels["process"]] = float(value)
    return Look(at, status, buckets, bad, cpu_s, memory)


class Between:
    """From one look to the next; without a first one, all rates are None."""

    def __init__(self, before: Look | None, now: Look) -> None:
        again = before is not None and before.status["uptime_s"] > now.status["uptime_s"]  # it was started anew
        self.now = now
        self._before = None if again else before

    def total(self) -> Document:
        """Everything together."""
        now, before = self.now.status["total"], self._before.status["total"] if self._before else None
        counts = before["duration"]["counts"] if before else None
        return self._traffic(now, before) | self._quantiles(counts, now["duration"]["counts"])

    def routes(self) -> list[Document]:
        """The busiest first."""
        before = _by_name(self._before, "routes")
        rows = [
            each
            | self._traffic(each, before.get(each["name"], _NOTHING if self._before else None))
            | self._of("route", each["name"])
            for each in self.now.status["routes"]
        ]
        return sorted(rows, key=_busiest)

    def upstreams(self) -> list[Document]:
        """The busiest first."""
        before = _by_name(self._before, "upstreams")
        rows = []
        for each in self.now.status["upstreams"]:
            old = None if self._before is None else self._sums(before.get(each["name"]), self._before)
            new = self._sums(each, self.now)
            in_flight = sum(target["in_flight"] for target in each["targets"])
            traffic = self._traffic(new, old) | self._of("upstream", each["name"])
            rows.append(each | new | {"in_flight": in_flight} | traffic)
        return sorted(rows, key=_busiest)

    def queues(self) -> list[Document]:
        """In the order of the config; `refused_per_s` for any reason."""
        before = _by_name(self._before, "queues")
        return [
            each | {"refused_per_s": self._rate(_refused(each), _refused(before.get(each["name"])))}
            for each in self.now.status["queues"]
        ]

    def workers(self) -> list[Document]:
        """`cpu` is the share of one core, `memory` in bytes; None where that is not known."""
        rows = []
        for each in self.now.status["workers"]:
            process = str(each["slot"])
            old = self._before.cpu_s.get(process) if self._before else None
            cpu = self._rate(self.now.cpu_s.get(process, 0.0), old)
            rows.append(each | {"cpu": cpu, "memory": self.now.memory.get(process)})
        return rows

    def _sums(self, upstream: Document | None, of: Look) -> Document:
        """Requests are attempts that were answered or failed; errors those that failed or got a 5xx."""
        targets = upstream["targets"] if upstream else []
        failed = sum(target["errors"] for target in targets)
        bad = of.bad.get(upstream["name"], 0.0) if upstream else 0.0
        return {"requests": sum(target["requests"] for target in targets) + failed, "errors": bad + failed}

    def _traffic(self, now: Document, before: Document | None) -> Document:
        return {
            "per_s": self._rate(now["requests"], before["requests"] if before else None),
            "errors_per_s": self._rate(now["errors"], before["errors"] if before else None),
        }

    def _rate(self, now: float, before: float | None) -> float | None:
        if self._before is None or before is None:
            return None
        return max(0.0, now - before) / max(self.now.at - self._before.at, 1e-3)

    def _of(self, kind: str, name: str) -> Document:
        if self._before is None:
            return {"p50_ms": None, "p99_ms": None}
        before, now = (_single(each.buckets.get((kind, name), [])) for each in (self._before, self.now))
        return self._quantiles(before, now)

    def _quantiles(self, before: list[float] | None, now: list[float]) -> Document:
        """Of what was counted in between, in milliseconds."""
        if self._before is None or len(now) != len(BUCKETS) + 1:
            return {"p50_ms": None, "p99_ms": None}
        counts = [max(0.0, n - old) for n, old in zip(now, before or [0.0] * len(now), strict=True)]
        found = Distribution(tuple(counts), 0.0)
        return {"p50_ms": _ms(found.quantile(0.5)), "p99_ms": _ms(found.quantile(0.99))}


_NOTHING: Document = {"requests": 0, "errors": 0}


def _by_name(of: Look | None, kind: str) -> dict[str, Document]:
    return {each["name"]: each for each in of.status[kind]} if of else {}


def _busiest(row: Document) -> tuple[float, float]:
    return -(row["per_s"] or 0.0), -row["requests"]


def _refused(queue: Document | None) -> float:
    return float(sum(queue["rejected"].values())) if queue else 0.0


def _single(cumulative: list[float]) -> list[float]:
    """Counts of each bucket alone."""
    return [n - before for n, before in zip(cumulative, [0.0, *cumulative], strict=False)]


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else value_s * 1000
