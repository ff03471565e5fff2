"""What an executor counts."""

from array import array
from collections.abc import Callable
from typing import Any, Final, Protocol

OUTCOMES: Final = ("ok", "error", "timeout", "rejected", "abandoned")
"""rejected: the queue was full; timeout: at the deadline it waited, or its process was ended; abandoned: it ran on in
its thread. A call that its client withdrew before it began is none of these."""
STATES: Final = ("busy", "idle", "abandoned")
_SMOOTHING: Final = 0.3
"""Weight of the latest half second in the rate at which calls end."""


class Observes(Protocol):
    """A histogram."""

    def observe(self, value: float) -> None: ...


class Metrics(Protocol):
    """The registry of the worker, as executors see it."""

    @property
    def cells(self) -> "array[float]": ...
    def counter(self, metric: str, /, **labels: str) -> int: ...
    def gauge(self, metric: str, /, **labels: str) -> int: ...
    def histogram(self, metric: str, /, **labels: str) -> Any: ...
    def on_flush(self, callback: Callable[[], None]) -> None: ...
    def off_flush(self, callback: Callable[[], None]) -> None: ...


class Meter:
    """The cells of one executor, and how fast it works. Belongs to the loop thread."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.metrics = metrics
        self._cells = metrics.cells
        self._tasks = {
            outcome: metrics.counter("gateway_executor_tasks_total", executor=name, outcome=outcome)
            for outcome in OUTCOMES
        }
        self._workers = [metrics.gauge("gateway_executor_workers", executor=name, state=state) for state in STATES]
        self._depth = metrics.gauge("gateway_executor_queue_depth", executor=name)
        self._limit = metrics.gauge("gateway_executor_queue_limit", executor=name)
        self._wait: Observes = metrics.histogram("gateway_executor_wait_seconds", executor=name)
        self._duration: Observes = metrics.histogram("gateway_executor_task_duration_seconds", executor=name)
        self._ended = 0
        self._ended_before = 0
        self._measured_at = 0.0
        self.rate = 0.0
        """Calls that ended per second, lately."""

    def count(self, outcome: str) -> None:
        self._cells[self._tasks[outcome]] += 1.0

    def ended(self, outcome: str, asked_at: float, begun_at: float, ended_at: float) -> None:
        """A call that ran: when it was asked for, began and ended."""
        self._ended += 1
        self._cells[self._tasks[outcome]] += 1.0
        self._wait.observe(begun_at - asked_at)
        self._duration.observe(ended_at - begun_at)

    def gave_up(self, waited_s: float) -> None:
        """A call whose time was up in the queue."""
        self._cells[self._tasks["timeout"]] += 1.0
        self._wait.observe(waited_s)

    def measure(self, now: float, *, busy: int, idle: int, lost: int, waiting: int, limit: int) -> None:
        """Set the gauges and the rate; to be called about twice a second."""
        for cell, count in zip(self._workers, (busy, idle, lost), strict=True):
            self._cells[cell] = float(count)
        self._cells[self._depth] = float(waiting)
        self._cells[self._limit] = float(limit)
        elapsed = now - self._measured_at
        if self._measured_at and elapsed > 0.0:
            rate = (self._ended - self._ended_before) / elapsed
            self.rate = rate if self.rate == 0.0 else self.rate + _SMOOTHING * (rate - self.rate)
        self._measured_at, self._ended_before = now, self._ended
