"""Why the gateway itself answered: the closed list of reasons, and the one error that carries them.

A reason is public: it stands in the `X-Gateway-Reason` header, in the problem document, in the access log
and in `gateway_responses_generated_total{route,reason}`.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reason:
    """One row of the table: its name, the status it answers with, and its title for people."""

    name: str
    status: int
    title: str

    @property
    def by_target(self) -> bool:
        """True where the target is at fault (the failures that count against it)."""
        return self.name in _TARGET_FAULTS


_TARGET_FAULTS = frozenset(
    {
        "connect_refused",
        "connect_timeout",
        "dns_failed",
        "tls_failed",
        "upstream_timeout",
        "upstream_reset",
        "upstream_protocol",
        "upstream_truncated",
    }
)

_TABLE = (
    ("no_route", 404, "No route matches"),
    ("method_not_allowed", 405, "Method not allowed"),
    ("bad_request", 400, "Bad request"),
    ("http_version", 505, "HTTP version not supported"),
    ("misdirected", 421, "Misdirected request"),
    ("uri_too_long", 414, "URI too long"),
    ("headers_too_large", 431, "Header fields too large"),
    ("body_too_large", 413, "Body too large"),
    ("request_timeout", 408, "The request took too long to arrive"),
    ("expectation_failed", 417, "Expectation failed"),
    ("not_implemented", 501, "Not implemented"),
    ("shed_overload", 503, "Overloaded"),
    ("queue_full", 503, "The queue is full"),
    ("queue_timeout", 503, "Waited too long in the queue"),
    ("concurrency_limited", 503, "Too many requests are under way"),
    ("no_healthy_target", 503, "No healthy target"),
    ("circuit_open", 503, "The upstream fails and is left alone"),
    ("upstream_busy", 503, "All connections to the upstream are taken"),
    ("connect_refused", 502, "The upstream refused the connection"),
    ("connect_timeout", 504, "Connecting to the upstream took too long"),
    ("dns_failed", 502, "The upstream's name does not resolve"),
    ("tls_failed", 502, "TLS with the upstream failed"),
    ("upstream_timeout", 504, "The upstream took too long"),
    ("upstream_reset", 502, "The upstream closed the connection"),
    ("upstream_protocol", 502, "The upstream's answer is not valid HTTP"),
    ("executor_full", 503, "The executor is full"),
    ("executor_timeout", 504, "The executor took too long"),
    ("plugin_error", 500, "A plugin failed"),
    ("plugin_timeout", 504, "A plugin took too long"),
    ("plugin_denied", 403, "Refused by a plugin"),
    ("handler_error", 500, "The handler failed"),
    ("aggregate_required_failed", 502, "A required source failed"),
    ("loop_detected", 508, "Loop detected"),
    ("draining", 503, "Shutting down"),
    ("internal_error", 500, "Internal error"),
    ("upstream_truncated", 502, "The upstream's answer was cut short"),
    ("client_closed", 499, "The client went away"),
)

REASONS: dict[str, Reason] = {name: Reason(name, status, title) for name, status, title in _TABLE}


class GatewayError(Exception):
    """A request that ends in an answer of the gateway's own; `detail` is for the person who reads it."""

    def __init__(self, reason: str, detail: str, *, status: int = 0, retry_after_s: float = 0.0) -> None:
        """retry_after_s: when to come back, where that was measured."""
        super().__init__(f"{reason}: {detail}")
        self.reason = REASONS[reason]
        self.detail = detail
        self.status = status or self.reason.status
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        """It also comes back from the processes of an executor."""
        return _again, (self.reason.name, self.detail, self.status, self.retry_after_s)


def _again(reason: str, detail: str, status: int, retry_after_s: float) -> GatewayError:
    return GatewayError(reason, detail, status=status, retry_after_s=retry_after_s)
