"""The table of metric families: the single source of names, types, help and labels."""

from dataclasses import dataclass
from typing import Literal

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds of every histogram; the last bucket (+Inf) is implied."""

HISTOGRAM_WIDTH = len(BUCKETS) + 2
"""Cells of a histogram: one per bucket, one for +Inf, one for the sum."""

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric; `merge` says how the gauges of several workers become one number."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    merge: Literal["sum", "max"] = "sum"
    zero: bool = True
    """False where 0 says that there is none, so that the series is not shown."""

    @property
    def width(self) -> int:
        """Cells of one series."""
        return HISTOGRAM_WIDTH if self.kind == "histogram" else 1


_TABLE: tuple[Family, ...] = (
    # requests of clients
    Family(
        "gateway_http_requests_total",
        "counter",
        "Requests answered.",
        ("route", "method", "code", "source"),
    ),
    Family(
        "gateway_http_request_duration_seconds",
        "histogram",
        "From the request head to the end of the answer.",
        ("route",),
    ),
    Family(
        "gateway_http_request_overhead_seconds",
        "histogram",
        "Spent in the gateway: the duration less the time the upstream had the request.",
        ("route",),
    ),
    Family("gateway_http_requests_in_flight", "gauge", "Requests being served.", ("route",)),
    Family("gateway_http_request_bytes_total", "counter", "Bytes of request bodies received.", ("route",)),
    Family("gateway_http_response_bytes_total", "counter", "Bytes of response bodies sent.", ("route",)),
    Family(
        "gateway_responses_generated_total",
        "counter",
        "Answers the gateway made itself, by reason.",
        ("route", "reason"),
    ),
    # connections of clients
    Family("gateway_connections_open", "gauge", "Client connections open.", ("listener",)),
    Family("gateway_connections_total", "counter", "Client connections accepted.", ("listener",)),
    Family(
        "gateway_connections_rejected_total",
        "counter",
        "Client connections closed before a request, by reason.",
        ("listener", "reason"),
    ),
    Family(
        "gateway_accept_paused_total",
        "counter",
        "Times accepting was paused for want of descriptors or room.",
        ("listener",),
    ),
    Family(
        "gateway_tls_handshake_errors_total",
        "counter",
        "Failed TLS handshakes with clients.",
        ("listener", "reason"),
    ),
    Family(
        "gateway_tls_certificate_not_after_timestamp_seconds",
        "gauge",
        "When the certificate expires, in Unix time.",
        ("listener", "name"),
        merge="max",
        zero=False,
    ),
    # upstreams
    Family(
        "gateway_upstream_requests_total",
        "counter",
        "Requests answered by a target.",
        ("upstream", "target", "code"),
    ),
    Family(
        "gateway_upstream_request_duration_seconds",
        "histogram",
        "From the request on its way to the end of the target's answer.",
        ("upstream",),
    ),
    Family(
        "gateway_upstream_connect_duration_seconds",
        "histogram",
        "Time to connect to a target, TLS included.",
        ("upstream",),
    ),
    Family(
        "gateway_upstream_requests_in_flight",
        "gauge",
        "Requests a target is working on.",
        ("upstream", "target"),
    ),
    Family(
        "gateway_upstream_target_up",
        "gauge",
        "1 while the target takes part in balancing.",
        ("upstream", "target"),
        merge="max",
    ),
    Family(
        "gateway_upstream_connections",
        "gauge",
        "Connections to a target.",
        ("upstream", "target", "state"),
    ),
    Family(
        "gateway_upstream_errors_total",
        "counter",
        "Failed attempts at a target, by reason.",
        ("upstream", "target", "reason"),
    ),
    Family(
        "gateway_upstream_retries_total",
        "counter",
        "Requests tried again, by what came of it.",
        ("upstream", "outcome"),
    ),
    Family(
        "gateway_upstream_hedges_total",
        "counter",
        "Second requests to another target, beside one that was slow: won, the answer was theirs.",
        ("upstream", "outcome"),
    ),
    Family(
        "gateway_upstream_ejections_total",
        "counter",
        "Times a target was put aside for its errors, by reason.",
        ("upstream", "target", "reason"),
    ),
    Family(
        "gateway_circuit_state",
        "gauge",
        "1 for the state that the circuit is in, in one worker at least; 0 for the others.",
        ("upstream", "state"),
        merge="max",
    ),
    Family(
        "gateway_upstream_health_checks_total",
        "counter",
        "Active checks of a target: pass or fail.",
        ("upstream", "target", "result"),
    ),
    Family(
        "gateway_upstream_panic_total",
        "counter",
        "Picks of a target while all were bad, so all were used.",
        ("upstream",),
    ),
    Family("gateway_concurrency_limit", "gauge", "Requests an upstream may have at once.", ("upstream",)),
    Family("gateway_queue_depth", "gauge", "Requests that wait for their turn at an upstream.", ("queue",)),
    Family("gateway_queue_wait_seconds", "histogram", "Waited by requests whose turn came.", ("queue",)),
    Family(
        "gateway_queue_rejected_total",
        "counter",
        "Requests refused because a queue was full or slow.",
        ("queue", "reason"),
    ),
    # executors
    Family(
        "gateway_executor_workers",
        "gauge",
        "Threads or processes of an executor, by what they do.",
        ("executor", "state"),
    ),
    Family("gateway_executor_queue_depth", "gauge", "Calls that wait for an executor.", ("executor",)),
    Family("gateway_executor_queue_limit", "gauge", "Calls that may wait for an executor.", ("executor",)),
    Family(
        "gateway_executor_wait_seconds",
        "histogram",
        "From the call of an executor to its beginning there.",
        ("executor",),
    ),
    Family(
        "gateway_executor_task_duration_seconds",
        "histogram",
        "From the beginning of a call on an executor to its end.",
        ("executor",),
    ),
    Family(
        "gateway_executor_tasks_total",
        "counter",
        "Calls of an executor, by what came of them.",
        ("executor", "outcome"),
    ),
    # the users' Python
    Family("gateway_plugin_duration_seconds", "histogram", "Time of a call of a plugin.", ("plugin",)),
    Family("gateway_plugin_errors_total", "counter", "Calls of a plugin that failed or took too long.", ("plugin",)),
    # aggregates
    Family(
        "gateway_aggregate_sources_total",
        "counter",
        "Sources of aggregates that ended: ok, or the reason of the failure.",
        ("route", "source", "outcome"),
    ),
    Family(
        "gateway_aggregate_responses_total",
        "counter",
        "Answers of aggregates: full, partial or failed.",
        ("route", "completeness"),
    ),
    # the process
    Family(
        "gateway_event_loop_lag_seconds",
        "histogram",
        "How late the event loop runs what was due.",
        ("worker",),
    ),
    Family(
        "gateway_event_loop_blocked_total",
        "counter",
        "Times the event loop was held up, by the code that did.",
        ("code",),
    ),
    Family("gateway_buffered_bytes", "gauge", "Bytes of bodies held in memory."),
    Family("gateway_access_log_dropped_total", "counter", "Access log lines that could not be written."),
    Family("gateway_worker_restarts_total", "counter", "Workers replaced, by reason.", ("reason",)),
    Family("gateway_worker_up", "gauge", "1 while the worker serves.", ("worker",)),
    Family("gateway_config_reloads_total", "counter", "Reloads of the config: success or failure.", ("result",)),
    Family("gateway_config_last_reload_successful", "gauge", "1 unless the last reload failed."),
    Family(
        "gateway_config_last_reload_success_timestamp_seconds",
        "gauge",
        "When the running config was loaded, in Unix time.",
    ),
    Family("gateway_draining", "gauge", "1 while the gateway drains."),
    Family("gateway_build_info", "gauge", "Always 1.", ("version", "python")),
    Family(
        "gateway_process_cpu_seconds_total",
        "counter",
        "User and system CPU time of a process of the gateway.",
        ("process",),
    ),
    Family(
        "gateway_process_resident_memory_bytes",
        "gauge",
        "Resident memory of a process of the gateway.",
        ("process",),
    ),
    Family("gateway_process_open_fds", "gauge", "Open descriptors of a gateway process.", ("process",)),
)

FAMILIES: dict[str, Family] = {family.name: family for family in _TABLE}


def family(name: str, kind: Kind) -> Family:
    """The family `name` of that kind. Raises KeyError for a name that is not in the table."""
    found = FAMILIES.get(name)
    if found is None:
        raise KeyError(f"no metric {name!r} in gateway/observe/metrics.py")
    if found.kind != kind:
        raise KeyError(f"{name} is a {found.kind}, not a {kind}")
    return found
