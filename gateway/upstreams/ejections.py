"""Passive health: the targets of one upstream that fail more than the others are put aside for a while."""

import logging
from math import inf
from typing import TYPE_CHECKING

from gateway.decide.health.outliers import Ejection, Outliers, OutlierSettings
from gateway.observe.registry import Registry
from gateway.transport.deadlines import Deadlines
from gateway.upstreams.target import Target

if TYPE_CHECKING:
    from gateway.upstreams.upstream import Upstream

_log = logging.getLogger(__name__)


class Ejections:
    """Hears of every attempt and keeps `Target.ejected`. One deadline for the upstream, none for a request."""

    def __init__(self, settings: OutlierSettings, registry: Registry, deadlines: Deadlines) -> None:
        self._upstream: Upstream
        self._window_s = settings.window_s
        self._outliers = Outliers(settings)
        self._registry = registry
        self._deadlines = deadlines
        self._evaluate_at = inf
        self.deadline = self.armed = inf

    def watch(self, upstream: "Upstream") -> None:
        """From now on judge the targets of this one; what is known of them stays."""
        self._upstream = upstream
        self._forget_others()

    def report(self, target: Target, latency_s: float, ok: bool, now: float) -> None:
        """An attempt at `target` ended."""
        if self._evaluate_at == inf:
            self._evaluate_at = now + self._window_s
            self._arm()
        ejection = self._outliers.report(target.key, ok, now, len(self._upstream.targets))
        if ejection is not None:
            self._put_aside(ejection, now)
            self._apply(now)

    def on_deadline(self, now: float) -> None:
        """Let those back in whose time is over, and once a window compare all."""
        self._forget_others()
        for key in self._outliers.come_back(now):
            _log.info("upstream %s: target %s takes part again", self._upstream.name, key)
        if self._evaluate_at <= now:
            self._evaluate_at = now + self._window_s if self._outliers.seen else inf
            for ejection in self._outliers.evaluate(now, len(self._upstream.targets)):
                self._put_aside(ejection, now)
        self._apply(now)

    def _forget_others(self) -> None:
        self._outliers.keep([target.key for target in self._upstream.targets])

    def _put_aside(self, ejection: Ejection, now: float) -> None:
        for target in self._upstream.targets:
            if target.key == ejection.key:
                target.ejected_why, target.ejected_until = ejection.detail, now + ejection.for_s
        self._say(ejection)

    def _say(self, ejection: Ejection) -> None:
        name = self._upstream.name
        cell = self._registry.counter(
            "gateway_upstream_ejections_total", upstream=name, target=ejection.key, reason=ejection.reason
        )
        self._registry.cells[cell] += 1.0
        _log.warning(
            "upstream %s: target %s is put aside for %gs: %s", name, ejection.key, ejection.for_s, ejection.detail
        )

    def _apply(self, now: float) -> None:
        """Bring the targets' flags in line, where one changed."""
        changed = [target for target in self._upstream.targets if target.ejected != self._outliers.is_away(target.key)]
        for target in changed:
            if target.ejected:
                target.readmit(now)
            else:
                target.ejected = True
        if changed:
            self._upstream.refresh()
        self._arm()

    def _arm(self) -> None:
        self.deadline = min(self._evaluate_at, self._outliers.next_return)
        if self.deadline < self.armed:
            self._deadlines.arm(self)

    def __repr__(self) -> str:
        return f"<Ejections of {self._upstream.name}>"
