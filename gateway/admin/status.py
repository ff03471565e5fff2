"""`/status`: one JSON document of what the gateway does at this moment, all workers together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway import __version__
from gateway.admin.reports import report_of
from gateway.admin.state import AdminState, TargetFacts
from gateway.admin.totals import Distribution, Labels, Reading
from gateway.decide.route.settings import MatchSettings
from gateway.executors.settings import ExecutorSettings
from gateway.observe.memory import Slot
from gateway.observe.metrics import BUCKETS, FAMILIES
from gateway.pipeline.settings import (
    AppSettings,
    ForwardSettings,
    HandlerSettings,
    RedirectSettings,
    RespondSettings,
    RouteSettings,
    short_name,
)
from gateway.transport.settings import ListenSettings
from gateway.upstreams.settings import UpstreamSettings

Json = dict[str, Any]

NOTHING = TargetFacts()


def status(state: AdminState, reading: Reading, now: float, now_wall: float) -> Json:
    """The document; `now` is monotonic."""
    settings = state.settings
    return {
        "version": __version__,
        "state": _state(state, now),
        "uptime_s": round(now_wall - state.started_at, 1),
        "config": {
            "hash": settings.hash,
            "loaded_at": f"{datetime.fromtimestamp(state.loaded_at, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "path": settings.path,
        },
        "workers": [_worker(slot, now) for slot in state.slots if not slot.retired],
        "restarts": dict(state.restarts),
        "total": _total(state.slots, reading),
        "listeners": _listeners(settings.listen, reading),
        "routes": _routes(settings.routes, reading),
        "upstreams": _upstreams(settings.upstreams, reading, state.target_facts),
        "executors": _executors(settings.executors, state.slots, reading),
    }


def _state(state: AdminState, now: float) -> str:
    if state.draining:
        return "draining"
    return "serving" if any(slot.serves(now) for slot in state.slots) else "starting"


def _worker(slot: Slot, now: float) -> Json:
    """`overload` is what it refuses and why: null where it takes all, or where that is not known."""
    report = report_of(slot, now)
    hung = slot.alive() and slot.heartbeat > 0 and not slot.serves(now) and slot.state.name == "SERVING"
    return {
        "slot": slot.index,
        "pid": slot.pid or None,
        "state": "hung" if hung else slot.state.name.lower(),
        "connections": slot.connections,
        "buffered_bytes": slot.buffered,
        "overload": report["overload"] if report else None,
        "heartbeat_age_s": round(now - slot.heartbeat, 2) if slot.alive() and slot.heartbeat else None,
    }


def _total(slots: Iterable[Slot], reading: Reading) -> Json:
    """Everything together; `duration` is cumulative, so that two readings give the quantiles between them."""
    slots = list(slots)
    requests = _by(reading, "gateway_http_requests_total", "code")
    buckets = [0.0] * (len(BUCKETS) + 1)
    for _, found in reading.distributions("gateway_http_request_duration_seconds"):
        buckets = [one + other for one, other in zip(buckets, found.buckets, strict=True)]
    return {
        "requests": int(sum(requests.values())),
        "errors": int(sum(n for (code,), n in requests.items() if code.startswith("5"))),
        "by_code": {code: int(n) for (code,), n in sorted(requests.items())},
        "in_flight": int(sum(_by(reading, "gateway_http_requests_in_flight").values())),
        "connections": sum(slot.connections for slot in slots),
        "buffered_bytes": sum(slot.buffered for slot in slots),
        "bytes_in": int(sum(_by(reading, "gateway_http_request_bytes_total").values())),
        "bytes_out": int(sum(_by(reading, "gateway_http_response_bytes_total").values())),
        "log_lines_dropped": int(sum(_by(reading, "gateway_access_log_dropped_total").values())),
        "generated": {
            reason: int(n)
            for (reason,), n in sorted(_by(reading, "gateway_responses_generated_total", "reason").items())
        },
        "loop_blocked": {
            code: int(n) for (code,), n in sorted(_by(reading, "gateway_event_loop_blocked_total", "code").items())
        },
        "duration": {"bounds_s": BUCKETS, "counts": [int(n) for n in buckets]},
    }


def _listeners(listen: Sequence[ListenSettings], reading: Reading) -> list[Json]:
    open_now = _by(reading, "gateway_connections_open", "listener")
    total = _by(reading, "gateway_connections_total", "listener")
    rejected = _by(reading, "gateway_connections_rejected_total", "listener")
    return [
        {
            "address": each.name,
            "tls": each.tls is not None,
            "open": int(open_now[each.name,]),
            "connections": int(total[each.name,]),
            "rejected": int(rejected[each.name,]),
        }
        for each in listen
    ]


def _routes(routes: Sequence[RouteSettings], reading: Reading) -> list[Json]:
    """The configured routes, then `_unmatched` if anything was."""
    requests: dict[str, dict[str, float]] = defaultdict(dict)
    for (route, code), n in _by(reading, "gateway_http_requests_total", "route", "code").items():
        requests[route][code] = n
    in_flight = _by(reading, "gateway_http_requests_in_flight", "route")
    durations = dict(reading.distributions("gateway_http_request_duration_seconds"))
    shown: list[Json] = [{"name": each.name, "match": _match(each.match), "answer": _answer(each)} for each in routes]
    if "_unmatched" in requests:
        shown.append({"name": "_unmatched", "match": None, "answer": "404"})
    return [
        {**each, **_traffic(requests.get(name, {}), in_flight[name,], durations.get((name,)))}
        for each in shown
        for name in [each["name"]]
    ]


def _traffic(by_code: dict[str, float], in_flight: float, duration: Distribution | None) -> Json:
    return {
        "requests": int(sum(by_code.values())),
        "errors": int(sum(n for code, n in by_code.items() if code.startswith("5"))),
        "in_flight": int(in_flight),
        "p50_ms": _quantile_ms(duration, 0.5),
        "p99_ms": _quantile_ms(duration, 0.99),
    }


def _quantile_ms(duration: Distribution | None, share: float) -> float | None:
    value = duration.quantile(share) if duration else None
    return None if value is None else round(value * 1000, 2)


def _match(match: MatchSettings) -> str:
    hosts = ",".join(match.hosts)
    text = " ".join(filter(None, [",".join(match.methods), ",".join(hosts + path for path in match.paths)]))
    more = [f"{name}={value}" for name, value in (*match.headers, *match.query)]
    return " ".join([text, *more])


def _answer(route: RouteSettings) -> str:
    answer = route.answer
    if isinstance(answer, ForwardSettings):
        whole = sum(share for _, share in answer.to)
        if len(answer.to) == 1:
            return f"to {answer.to[0][0]}"
        return "to " + ", ".join(f"{name} {share * 100 / whole:.3g}%" for name, share in answer.to)
    if isinstance(answer, RedirectSettings):
        return f"redirect {answer.status} {answer.location}"
    if isinstance(answer, RespondSettings):
        return f"respond {answer.status}"
    if isinstance(answer, HandlerSettings):
        return f"handler {short_name(answer.call.run)}"
    if isinstance(answer, AppSettings):
        return f"{answer.kind} {short_name(answer.app)}"
    return "aggregate " + ", ".join(source.name for source in answer.sources)


def _upstreams(
    upstreams: Sequence[UpstreamSettings], reading: Reading, facts: Mapping[tuple[str, str], TargetFacts]
) -> list[Json]:
    targets = _targets(reading)
    durations = dict(reading.distributions("gateway_upstream_request_duration_seconds"))
    document = []
    for each in upstreams:
        weights = {target.label: target.weight for target in each.targets if not target.dns}
        moving = len(weights) < len(each.targets)
        labels = [*weights]
        for label, seen in targets[each.name].items():  # those of names, and those that a reload took, until they end
            if label not in weights and (moving or seen["in_flight"]):
                labels.append(label)
        document.append(
            {
                "name": each.name,
                "balance": each.balance.kind,
                "p50_ms": _quantile_ms(durations.get((each.name,)), 0.5),
                "p99_ms": _quantile_ms(durations.get((each.name,)), 0.99),
                "targets": [
                    {
                        "address": label,
                        "weight": weights.get(label),
                        **_health(facts.get((each.name, label), NOTHING)),
                        **targets[each.name][label],
                    }
                    for label in labels
                ],
            }
        )
    return document


def _health(facts: TargetFacts) -> Json:
    return {"state": facts.state, "why": facts.why or None}


def _executors(executors: Sequence[ExecutorSettings], slots: Iterable[Slot], reading: Reading) -> list[Json]:
    """Of all workers together; `limit` is the threads or processes of one worker, `degraded` holds in one at least."""
    degraded = {place for slot in slots if slot.alive() for place in slot.degraded}
    workers = _by(reading, "gateway_executor_workers", "executor", "state")
    outcomes = _by(reading, "gateway_executor_tasks_total", "executor", "outcome")
    waiting = _by(reading, "gateway_executor_queue_depth", "executor")
    queues = _by(reading, "gateway_executor_queue_limit", "executor")
    waits = dict(reading.distributions("gateway_executor_wait_seconds"))
    runs = dict(reading.distributions("gateway_executor_task_duration_seconds"))
    return [
        {
            "name": each.name,
            "kind": "processes" if each.processes else "threads",
            "limit": each.processes or each.threads,
            **{state: int(workers[each.name, state]) for state in ("busy", "idle", "abandoned")},
            "waiting": int(waiting[each.name,]),
            "queue": int(queues[each.name,]),
            "calls": {outcome: int(n) for (name, outcome), n in sorted(outcomes.items()) if name == each.name},
            "wait_p99_ms": _quantile_ms(waits.get((each.name,)), 0.99),
            "p50_ms": _quantile_ms(runs.get((each.name,)), 0.5),
            "p99_ms": _quantile_ms(runs.get((each.name,)), 0.99),
            "degraded": place in degraded,
        }
        for place, each in enumerate(executors)
    ]


def _targets(reading: Reading) -> dict[str, dict[str, Json]]:
    """Facts of every target ever seen, by upstream and address; those of names come from here alone."""
    found: dict[str, dict[str, Json]] = defaultdict(lambda: defaultdict(_no_traffic))
    for (upstream, target), n in _by(reading, "gateway_upstream_requests_total", "upstream", "target").items():
        found[upstream][target]["requests"] = int(n)
    for (upstream, target), n in _by(reading, "gateway_upstream_errors_total", "upstream", "target").items():
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


def _by(reading: Reading, name: str, *labels: str) -> defaultdict[Labels, float]:
    """Values of the family summed over all labels but these."""
    places = [FAMILIES[name].labels.index(label) for label in labels]
    sums: defaultdict[Labels, float] = defaultdict(float)
    for values, n in reading.values(name):
        sums[tuple(values[place] for place in places)] += n
    return sums
