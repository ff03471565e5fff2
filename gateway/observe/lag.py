"""Event-loop lag: how late the loop runs what was due."""

from gateway.observe.registry import Registry


class LagMeter:
    """Fed by a periodic call of the worker with when it was due and when it ran (monotonic seconds)."""

    def __init__(self, registry: Registry, worker: int) -> None:
        self._histogram = registry.histogram("gateway_event_loop_lag_seconds", worker=str(worker))
        self.last_s = 0.0
        self.worst_s = 0.0
        """Since the meter was made."""

    def observe(self, expected: float, now: float) -> None:
        """A call that was due at `expected` ran at `now`; clocks are coarse, so early counts as on time."""
        lag_s = max(0.0, now - expected)
        self.last_s = lag_s
        self.worst_s = max(self.worst_s, lag_s)
        self._histogram.observe(lag_s)

    def stats(self) -> dict[str, float]:
        return {"last_s": self.last_s, "worst_s": self.worst_s}

    def __repr__(self) -> str:
        return f"<LagMeter last={self.last_s * 1000:.1f}ms worst={self.worst_s * 1000:.1f}ms>"
