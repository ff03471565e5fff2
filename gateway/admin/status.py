"""`/status`: one JSON document of what the gateway does at this moment, all workers together."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway import __version__
from gateway.admin.reports import Report, report_of
from gateway.admin.state import AdminState
from gateway.admin.status_upstreams import queues, upstreams
from gateway.admin.sums import quantile_ms, sums
from gateway.admin.totals import Distribution, Reading
from gateway.config.answer_text import answer_text
from gateway.decide.route.settings import MatchSettings
from gateway.executors.settings import ExecutorSettings
from gateway.observe.memory import Slot
from gateway.observe.metrics import BUCKETS
from gateway.pipeline.settings import ForwardSettings, RouteSettings
from gateway.transport.settings import ListenSettings

Json = dict[str, Any]


def status(state: AdminState, reading: Reading, now: float, now_wall: float) -> Json:
    """The document; `now` is monotonic."""
    settings = state.settings
    reports = {slot.index: report_of(slot, now) for slot in state.slots if slot.alive()}
    return {
        "version": __version__,
        "state": _state(state, now),
        "uptime_s": round(now_wall - state.started_at, 1),
        "config": {
            "hash": settings.hash,
            "loaded_at": f"{datetime.fromtimestamp(state.loaded_at, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "path": settings.path,
        },
        "workers": [_worker(slot, reports.get(slot.index), now) for slot in state.slots if not slot.retired],
        "restarts": dict(state.restarts),
        "total": _total(state.slots, reading),
        "listeners": _listeners(settings.listen, reading),
        "routes": _routes(settings.routes, reading),
        "upstreams": upstreams(settings.upstreams, reading, state.target_facts, reports, now),
        "queues": queues(settings.upstreams, reading, reports, now),
        "executors": _executors(settings.executors, state.slots, reading),
    }


def _state(state: AdminState, now: float) -> str:
    if state.draining:
        return "draining"
    return "serving" if any(slot.serves(now) for slot in state.slots) else "starting"


def _worker(slot: Slot, report: Report | None, now: float) -> Json:
    """`overload` is what it refuses and why: null where it takes all, or where that is not known."""
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
    requests = sums(reading, "gateway_http_requests_total", "code")
    buckets = [0.0] * (len(BUCKETS) + 1)
    for _, found in reading.distributions("gateway_http_request_duration_seconds"):
        buckets = [one + other for one, other in zip(buckets, found.buckets, strict=True)]
    return {
        "requests": int(sum(requests.values())),
        "errors": int(sum(n for (code,), n in requests.items() if code.startswith("5"))),
        "by_code": {code: int(n) for (code,), n in sorted(requests.items())},
        "in_flight": int(sum(sums(reading, "gateway_http_requests_in_flight").values())),
        "connections": sum(slot.connections for slot in slots),
        "buffered_bytes": sum(slot.buffered for slot in slots),
        "bytes_in": int(sum(sums(reading, "gateway_http_request_bytes_total").values())),
        "bytes_out": int(sum(sums(reading, "gateway_http_response_bytes_total").values())),
        "log_lines_dropped": int(sum(sums(reading, "gateway_access_log_dropped_total").values())),
        "generated": {
            reason: int(n)
            for (reason,), n in sorted(sums(reading, "gateway_responses_generated_total", "reason").items())
        },
        "loop_blocked": {
            code: int(n) for (code,), n in sorted(sums(reading, "gateway_event_loop_blocked_total", "code").items())
        },
        "duration": {"bounds_s": BUCKETS, "counts": [int(n) for n in buckets]},
    }


def _listeners(listen: Sequence[ListenSettings], reading: Reading) -> list[Json]:
    open_now = sums(reading, "gateway_connections_open", "listener")
    total = sums(reading, "gateway_connections_total", "listener")
    rejected = sums(reading, "gateway_connections_rejected_total", "listener")
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
    for (route, code), n in sums(reading, "gateway_http_requests_total", "route", "code").items():
        requests[route][code] = n
    in_flight = sums(reading, "gateway_http_requests_in_flight", "route")
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
        "p50_ms": quantile_ms(duration, 0.5),
        "p99_ms": quantile_ms(duration, 0.99),
    }


def _match(match: MatchSettings) -> str:
    hosts = ",".join(match.hosts)
    text = " ".join(filter(None, [",".join(match.methods), ",".join(hosts + path for path in match.paths)]))
    more = [f"{name}={value}" for name, value in (*match.headers, *match.query)]
    return " ".join([text, *more])


def _answer(route: RouteSettings) -> str:
    text = answer_text(route)
    return f"to {text}" if isinstance(route.answer, ForwardSettings) else text


def _executors(executors: Sequence[ExecutorSettings], slots: Iterable[Slot], reading: Reading) -> list[Json]:
    """Of all workers together; `limit` is the threads or processes of one worker, `degraded` holds in one at least."""
    degraded = {place for slot in slots if slot.alive() for place in slot.degraded}
    workers = sums(reading, "gateway_executor_workers", "executor", "state")
    outcomes = sums(reading, "gateway_executor_tasks_total", "executor", "outcome")
    waiting = sums(reading, "gateway_executor_queue_depth", "executor")
    queues = sums(reading, "gateway_executor_queue_limit", "executor")
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
            "wait_p99_ms": quantile_ms(waits.get((each.name,)), 0.99),
            "p50_ms": quantile_ms(runs.get((each.name,)), 0.5),
            "p99_ms": quantile_ms(runs.get((each.name,)), 0.99),
            "degraded": place in degraded,
        }
        for place, each in enumerate(executors)
    ]
