"""The guard of a whole worker: measures it each tick, and says once that it begins and that it ends."""

import logging
from collections.abc import Callable

from gateway.decide.resilience.overload import Overload
from gateway.decide.resilience.overload_settings import OverloadSettings

MEMORY_EVERY_S = 0.5

_WHY = {"loop_lag": "the event loop runs late", "memory": "memory runs short"}
_log = logging.getLogger(__name__)


class OverloadWatch:
    """Fed by the worker's tick; `memory` gives the share in use, 0 to 1."""

    def __init__(self, worker: int, memory: Callable[[], float]) -> None:
        self._worker = worker
        self._memory = memory
        self._overload = Overload()
        self._used = 0.0
        self._looked_at = -MEMORY_EVERY_S

    def tick(self, now: float, lag_s: float, settings: OverloadSettings) -> Overload | None:
        """What to ask ahead of each new request; None while all are taken."""
        overload = self._overload
        if settings.memory and now - self._looked_at >= MEMORY_EVERY_S:
            self._looked_at = now
            self._used = self._memory()
        if overload.step(now, lag_s, self._used, settings):
            self._say()
        return overload if overload.cause else None

    @property
    def facts(self) -> dict[str, object] | None:
        """What is refused and why, for `/status`; None while all is taken."""
        overload = self._overload
        if not overload.cause:
            return None
        return {"cause": overload.cause, "share": round(overload.share, 3), "refused": overload.refused}

    def _say(self) -> None:
        overload = self._overload
        if overload.cause:
            why, key = _WHY[overload.cause], f"overload.{overload.cause}"
            _log.warning("worker %d is overloaded: %s, past %s; new requests are refused", self._worker, why, key)
        else:
            _log.warning("worker %d is no longer overloaded: %d requests were refused", self._worker, overload.refused)

    def __repr__(self) -> str:
        return f"<OverloadWatch of worker {self._worker} {self.facts}>"
