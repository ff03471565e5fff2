"""Who is told of every attempt of an upstream."""

from collections.abc import Callable

from gateway.decide.balance.protocol import Balancer
from gateway.upstreams.ejections import Ejections
from gateway.upstreams.gate import Gate
from gateway.upstreams.target import Target

Report = Callable[[Target, float, bool, float], None]
"""Target, latency (s), whether it went well, now."""


def reports(balancer: Balancer, learns: Gate | None, ejections: Ejections | None) -> Report | None:
    """All of these that want to know; None where nobody does. `learns`: the gate, where its limit is found out."""
    told: list[Report] = []
    if balancer.wants_reports:
        told.append(balancer.report)
    if learns is not None:
        told.append(_to_gate(learns))
    if ejections is not None:
        told.append(ejections.report)
    if len(told) < 2:
        return told[0] if told else None
    return _to_all(told)


def _to_gate(gate: Gate) -> Report:
    return lambda target, latency_s, ok, now: gate.on_answer(latency_s, ok, now)


def _to_all(told: list[Report]) -> Report:
    def report(target: Target, latency_s: float, ok: bool, now: float) -> None:
        for each in told:
            each(target, latency_s, ok, now)

    return report
