"""Upstreams and queues in `/status`: who of the targets takes part and why not, and what stands before them.

Circuits and limits are the workers' own, so each is shown by worker; that of a worker which does not tell is `unknown`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.admin.reports import Report, Reports
from gateway.admin.state import TargetFacts
from gateway.admin.sums import quantile_ms, sums
from gateway.admin.totals import Reading
from gateway.decide.resilience.breaker import CLOSED, HALF_OPEN, OPEN
from gateway.upstreams.settings import UpstreamSettings

Json = dict[str, Any]

UNKNOWN = "unknown"
_NOTHING = TargetFacts()


def upstreams(
    settings: Sequence[UpstreamSettings],
    reading: Reading,
    facts: Mapping[tuple[str, str], TargetFacts],
    reports: Reports,
    now: float,
) -> list[Json]:
    """In the order of the config."""
    targets = _targets(reading)
    durations = dict(reading.distributions("gateway_upstream_request_duration_seconds"))
    retried = _outcomes(reading, "gateway_upstream_retries_total")
    hedged = _outcomes(reading, "gateway_upstream_hedges_total")
    document = []
    for each in settings:
        told = {slot: _of(report, each.name) for slot, report in reports.items()}
        weights = {target.label: target.weight for target in each.targets if not target.dns}
        labels = [*weights, *_others(each, weights, targets[each.name])]
        document.append(
            {
                "name": each.name,
                "balance": each.balance.kind,
                "p50_ms": quantile_ms(durations.get((each.name,)), 0.5),
                "p99_ms": quantile_ms(durations.get((each.name,)), 0.99),
                "panic": any(found.get("panic", False) for found in told.values() if found),
                "breaker": None if each.breaker is None else _breaker(told, now),
                "limiter": None if each.concurrency is None else _limiter(each, told),
                "retries": _retries(each, told, retried[each.name]),
                "hedges": None if each.hedge is None else _hedges(told, hedged[each.name]),
                "targets": [
                    {
                        "address": label,
                        "weight": weights.get(label),
                        **_health(facts.get((each.name, label), _NOTHING), label, told, now),
                        **targets[each.name][label],
                    }
                    for label in labels
                ],
            }
        )
    return document


def _others(settings: UpstreamSettings, known: Mapping[str, int], seen: Mapping[str, Json]) -> list[str]:
    """Targets that names stand for, and those that a reload took, until their last request ends."""
    moving = len(known) < len(settings.targets)
    return [label for label, found in seen.items() if label not in known and (moving or found["in_flight"])]


def _outcomes(reading: Reading, name: str) -> dict[str, Json]:
    """Counts by upstream and outcome."""
    found: dict[str, Json] = defaultdict(dict)
    for (upstream, outcome), n in sorted(sums(reading, name, "upstream", "outcome").items()):
        found[upstream][outcome] = int(n)
    return found


def _of(report: Report | None, upstream: str) -> Json | None:
    return None if report is None else report["upstreams"].get(upstream, {})


def _breaker(told: Mapping[int, Json | None], now: float) -> Json:
    """`state` is the worst of those known."""
    workers = [_circuit(slot, (found or {}).get("circuit"), now) for slot, found in told.items()]
    states = [each["state"] for each in workers]
    worst = next((state for state in (OPEN, HALF_OPEN, CLOSED) if state in states), UNKNOWN)
    return {"state": worst, "workers": workers}


def _circuit(slot: int, found: Json | None, now: float) -> Json:
    """`for_s`: in this state so long (null: ever since it began); `retry_in_s`: then a request may try."""
    if found is None:
        return {"worker": slot, "state": UNKNOWN}
    since, retry_at = found["since"], found.get("retry_at")
    return {
        "worker": slot,
        "state": found["state"],
        "why": found.get("why"),
        "for_s": None if since is None else round(now - since, 1),
        "retry_in_s": None if retry_at is None else max(0.0, round(retry_at - now, 1)),
    }


def _limiter(settings: UpstreamSettings, told: Mapping[int, Json | None]) -> Json:
    """Numbers are those of all workers that are known, together."""
    workers = [_gate(slot, (found or {}).get("gate")) for slot, found in told.items()]
    known = [each for each in workers if each["state"] != UNKNOWN]
    return {
        "kind": "adaptive" if settings.concurrency == "adaptive" else "fixed",
        **{key: sum(each[key] for each in known) for key in ("limit", "in_flight", "waiting")},
        "workers": workers,
    }


def _gate(slot: int, found: Json | None) -> Json:
    if found is None:
        return {"worker": slot, "state": UNKNOWN}
    limit, in_flight = found["limit"], found["in_flight"]
    waiting = sum(depth for depth, _ in found["queues"].values())
    state = "full" if in_flight >= limit else "free"
    return {"worker": slot, "state": state, "limit": limit, "in_flight": in_flight, "waiting": waiting}


def _retries(settings: UpstreamSettings, told: Mapping[int, Json | None], outcomes: Mapping[str, int]) -> Json:
    """`used`: of the last 10 s, with hedges, beyond retries after a failed connect; `allowed`: in such a time, where
    any was used."""
    found = [known["retries"] for known in told.values() if known and "retries" in known]
    return {
        "attempts": settings.retry.attempts,
        "budget": settings.retry.budget,
        "used": sum(used for used, _ in found),
        "allowed": sum(allowed for _, allowed in found) if found else None,
        "outcomes": outcomes,
    }


def _hedges(told: Mapping[int, Json | None], outcomes: Mapping[str, int]) -> Json:
    """`after_s`: so late a second target is asked now, the longest of the workers; null while none knows enough."""
    delays = [known["hedge_after_s"] for known in told.values() if known and known.get("hedge_after_s") is not None]
    return {"after_s": round(max(delays), 4) if delays else None, "outcomes": outcomes}


def _health(facts: TargetFacts, label: str, told: Mapping[int, Json | None], now: float) -> Json:
    """By hand goes before by checks, and those before what single workers found out by themselves."""
    if facts.drained:
        return {"state": facts.state, "why": "by hand"}
    known = [found["targets"][label] for found in told.values() if found and label in found.get("targets", {})]
    for state in ("ejected", "slow_start"):
        away = [each for each in known if each["state"] == state]
        if away and facts.up is not False:
            return {"state": state, "why": _why(away, len(told), now)}
    return {"state": facts.state, "why": facts.why or None}


def _why(away: Sequence[Json], workers: int, now: float) -> str:
    left_s = max(0.0, max(each["until"] for each in away) - now)
    if away[0]["state"] == "slow_start":
        text = f"new, or back: no more than the others have, for {left_s:.1f} s"
    else:
        text = f"{away[0]['why']}; back in {left_s:.1f} s"
    return text if workers == 1 else f"{text}; in {len(away)} of {workers} workers"


def _targets(reading: Reading) -> dict[str, dict[str, Json]]:
    """Facts of every target ever seen, by upstream and address; those of names come from here alone."""
    found: dict[str, dict[str, Json]] = defaultdict(lambda: defaultdict(_no_traffic))
    for (upstream, target), n in sums(reading, "gateway_upstream_requests_total", "upstream", "target").items():
        found[upstream][target]["requests"] = int(n)
    for (upstream, target), n in sums(reading, "gateway_upstream_errors_total", "upstream", "target").items():
        found[upstream][target]["errors"] = int(n)
    for (upstream, target), n in reading.values("gateway_upstream_requests_in_flight"):
        found[upstream][target]["in_flight"] = int(n)
    for (upstream, target), n in reading.values("gateway_upstream_target_up"):
        found[upstream][target]["up"] = bool(n)
    for (upstream, target, state), n in reading.values("gateway_upstream_connections"):
        found[upstream][target]["connections"][state] = int(n)
    return found


def _no_traffic() -> Json:
    return {"up": None, "in_flight": 0, "requests": 0, "errors": 0, "connections": {"idle": 0, "active": 0}}


def queues(settings: Iterable[UpstreamSettings], reading: Reading, reports: Reports, now: float) -> list[Json]:
    """Of all upstreams and workers together; `max` is that of one upstream in one worker."""
    named = {queue.name: queue for each in settings if each.concurrency is not None for queue in each.queues}
    depths = sums(reading, "gateway_queue_depth", "queue")
    rejected = sums(reading, "gateway_queue_rejected_total", "queue", "reason")
    waits = dict(reading.distributions("gateway_queue_wait_seconds"))
    oldest = _oldest(reports)
    return [
        {
            "name": name,
            "max": queue.max,
            "wait_s": queue.wait_s,
            "weight": queue.weight,
            "depth": int(depths[name,]),
            "oldest_s": round(max(0.0, now - oldest[name]), 3) if name in oldest else None,
            "rejected": {reason: int(n) for (of, reason), n in sorted(rejected.items()) if of == name},
            "wait_p50_ms": quantile_ms(waits.get((name,)), 0.5),
            "wait_p99_ms": quantile_ms(waits.get((name,)), 0.99),
        }
        for name, queue in named.items()
    ]


def _oldest(reports: Reports) -> dict[str, float]:
    """Since when the one waits that waits longest, by queue, as far as it is known."""
    found: dict[str, float] = {}
    for report in reports.values():
        for upstream in report["upstreams"].values() if report else ():
            for name, (_, since) in upstream.get("gate", {}).get("queues", {}).items():
                found[name] = min(since, found.get(name, since))
    return found
