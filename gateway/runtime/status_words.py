"""Parts of the document of /status in a few words."""

from typing import Any

Document = dict[str, Any]


def targets_up(upstream: Document) -> str:
    """How many of the targets take part."""
    up = sum(target["up"] is not False for target in upstream["targets"])
    return f"{up} of {len(upstream['targets'])}"


def circuit(breaker: Document | None) -> str | None:
    """The worst state of all workers, why, and when a request may try."""
    if breaker is None:
        return None
    state = breaker["state"].replace("_", "-")
    worst: Document = next((each for each in breaker["workers"] if each["state"] == breaker["state"]), {})
    text = ": ".join(filter(None, [state, worst.get("why")]))
    left_s = worst.get("retry_in_s")
    return text if left_s is None else f"{text}; tried again in {left_s:g} s"


def limit(limiter: Document | None) -> str | None:
    """How many requests are under way, of how many that may be."""
    if limiter is None:
        return None
    return f"{limiter['in_flight']} of {limiter['limit']}" + (", adaptive" if limiter["kind"] == "adaptive" else "")


def retries(found: Document) -> str:
    """Outcomes so far; of the budget, what was used in the last 10 s."""
    outcomes = _outcomes(found)
    used = f"{found['used']} of {found['allowed']} in 10 s" if found["used"] else ""
    return "; ".join(filter(None, [outcomes, used])) or "-"


def hedges(found: Document | None) -> str | None:
    """Outcomes so far, and after what time a second target is asked."""
    if found is None:
        return None
    after = "" if found["after_s"] is None else f"after {found['after_s'] * 1000:.0f} ms"
    return "; ".join(filter(None, [_outcomes(found), after])) or "-"


def _outcomes(found: Document) -> str:
    return ", ".join(f"{n} {outcome.replace('_', ' ')}" for outcome, n in found["outcomes"].items())


def overload(found: Document | None) -> str | None:
    """What is refused, and why."""
    return None if found is None else f"refuses {found['share']:.0%} ({found['cause']})"


def duration(seconds: float) -> str:
    """In its largest unit."""
    whole = int(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
