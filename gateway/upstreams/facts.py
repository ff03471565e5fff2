"""What stands before an upstream, and who of its targets is put aside: plain values, for `/status`."""

from typing import Any

from gateway.decide.balance.newcomer import all_new, is_new
from gateway.upstreams.target import Target
from gateway.upstreams.upstream import Upstream

Facts = dict[str, Any]


def facts(upstream: Upstream, now: float) -> Facts:
    """Times are monotonic. Empty where nothing is told that its settings do not tell: all is at rest."""
    found: Facts = {}
    if upstream.circuit is not None:
        found["circuit"] = upstream.circuit.facts()
    if upstream.gate is not None:
        found["gate"] = upstream.gate.facts()
    if upstream.panics:
        found["panic"] = True
    retried, allowed = upstream.retries.state(now)
    if retried:
        found["retries"] = (retried, allowed)
    if upstream.hedge is not None:
        found["hedge_after_s"] = upstream.hedge.after_s(now)
    compared = not all_new(upstream.targets, now)
    targets = {target.key: told for target in upstream.targets if (told := _target(target, compared, now))}
    if targets:
        found["targets"] = targets
    return found


def _target(target: Target, compared: bool, now: float) -> Facts | None:
    """Why it gets nothing, or less than its share; a newcomer among newcomers is `compared` with nobody."""
    if target.ejected:
        return {"state": "ejected", "why": target.ejected_why, "until": target.ejected_until}
    if compared and is_new(target, now):
        return {"state": "slow_start", "until": target.started_at + target.slow_start_s}
    return None
