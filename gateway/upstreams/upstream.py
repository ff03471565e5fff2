"""A named group of targets: who is in it, and who is next."""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Sequence

from gateway.core.errors import GatewayError
from gateway.decide.balance.newcomer import eased_in
from gateway.decide.balance.protocol import Balancer
from gateway.decide.resilience.adaptive import Adaptive
from gateway.decide.resilience.budget import RetryBudget
from gateway.decide.resilience.concurrency import Fixed
from gateway.decide.resilience.hedge import Delay
from gateway.observe.histogram import Histogram
from gateway.observe.registry import Registry
from gateway.transport.answer_heads import HeadMemo
from gateway.transport.connections import Connections
from gateway.transport.deadlines import Deadlines
from gateway.transport.dial import Destination, Dialer
from gateway.transport.outgoing import Outbox
from gateway.transport.resolver import AGAIN_S, FRESH_S, AddressInfo, Resolver
from gateway.upstreams.circuit import Circuit
from gateway.upstreams.ejections import Ejections
from gateway.upstreams.gate import Gate
from gateway.upstreams.reports import Report, reports
from gateway.upstreams.settings import TargetSettings, UpstreamSettings
from gateway.upstreams.target import Target

_log = logging.getLogger(__name__)
_RNG = random.Random()


class Upstream:
    """Targets with their balancer. `dns://` names are resolved again every few seconds; the last answer is kept.

    Make it on any thread; `start` and `begin` on the loop. Until it begins, nothing of it is seen or felt anywhere.
    """

    def __init__(
        self,
        settings: UpstreamSettings,
        *,
        balancer: Balancer,
        tls: ssl.SSLContext | None,
        registry: Registry,
        dialer: Dialer,
        resolver: Resolver,
        deadlines: Deadlines,
        outbox: Outbox,
        call_later: Callable[[float, Callable[[], object]], asyncio.TimerHandle],
        workers: int,
    ) -> None:
        """workers: how many of the gateway send to these targets."""
        self.name = settings.name
        self.settings = settings
        self.balancer = balancer
        self.report: Report | None = None
        """Told of every attempt, where somebody wants to know."""
        self.circuit = None if settings.breaker is None else Circuit(self.name, settings.breaker, registry)
        """Asked ahead of every attempt; None: never open."""
        self.gate = _gate(settings, workers, registry, deadlines, outbox)
        """Where requests get their permits; None: as many as come."""
        self.ejections = None if settings.outlier is None else Ejections(settings.outlier, registry, deadlines)
        """Puts targets aside; None: nobody does."""
        self.duration: Histogram = registry.histogram("gateway_upstream_request_duration_seconds", upstream=self.name)
        self.connect: Histogram = registry.histogram("gateway_upstream_connect_duration_seconds", upstream=self.name)
        self._registry = registry
        self._tls = tls
        self._dialer = dialer
        self._resolver = resolver
        self._deadlines = deadlines
        self._outbox = outbox
        self.memo = HeadMemo()
        self._left: list[Target] = []
        """Targets that DNS no longer names, until their last request ends."""
        self._named_by: dict[str, TargetSettings] = {}
        """Which `dns://` name a target came from."""
        self._refresh: list[asyncio.Task[None]] = []
        self.targets: tuple[Target, ...] = tuple(
            self._target(each, each.host) for each in settings.targets if not each.dns
        )
        self.retries = RetryBudget(settings.retry.budget, deadlines.clock())
        self.hedge = None if settings.hedge is None else Delay(settings.hedge, deadlines.clock())
        """When a second target is asked beside the first; None: never."""
        self.call_later = call_later
        self._outcomes: dict[str, int] = {}
        self._hedges: dict[str, int] = {}
        self._marks: dict[str, tuple[bool, bool]] = {}
        """Targets that fail their checks or are drained, also such as DNS does not name now."""
        self._panic = registry.counter("gateway_upstream_panic_total", upstream=self.name)
        self.panics = False
        """All that nobody drained are bad, so all of them are used."""
        self._retired = False
        self.usable: tuple[Target, ...] = ()
        self.refresh()

    def begin(self, before: "Upstream | None") -> None:
        """It serves from now on, in the place of `before`, whose requests go on as they began."""
        if before is not None:
            self._adopt(before)
        if self.ejections is not None:
            self.ejections.watch(self)
        learns = self.gate if self.settings.concurrency == "adaptive" else None
        self.report = reports(self.balancer, learns, self.ejections)
        if before is not None:  # what its requests come to is told to who judges now
            before.report, before.ejections = self.report, None
        self._registry.on_flush(self.flush)

    def _adopt(self, before: "Upstream") -> None:
        """Take the state of `before`: of the targets that stay, and of all else whose settings stay."""
        wants, was = self.settings, before.settings
        if wants.balance == was.balance:
            self.balancer = before.balancer
        if wants.breaker == was.breaker:
            self.circuit = before.circuit
        if wants.hedge == was.hedge:
            self.hedge = before.hedge
        if self.gate is not None and before.gate is not None:
            own, self.gate = self.gate, before.gate
            if wants.concurrency != was.concurrency:
                self.gate.limit_by(own.limiter)
            if wants.queues != was.queues:
                self.gate.queue_in(wants.queues)
        self.retries, share = before.retries, self.retries.share
        self.retries.share = share
        self.memo = before.memo
        self._adopt_targets(before)
        if wants.outlier == was.outlier:
            self.ejections = before.ejections
        else:  # judged anew
            for target in self.targets:
                target.readmit(self._deadlines.clock())
        self.refresh()

    def _adopt_targets(self, before: "Upstream") -> None:
        """A target that stays is the same object for both; `before` keeps those that leave."""
        left = {target.key: target for target in before.targets}
        targets: list[Target] = []
        for target in self.targets:
            found = left.pop(target.key, None)
            if found is None:
                target.started_at = self._deadlines.clock()
            else:
                found.become(target)
                target = found
            target.connections.memo = self.memo
            targets.append(target)
        self.targets = tuple(targets)
        before.targets = tuple(left.values())

    def refresh(self) -> None:
        """Find anew who takes part in balancing; to be called when that changed for a target.

        All bad is taken for a fault of the judgement: then all take part that nobody drained, as with Envoy's panic
        mode at 0 %.
        """
        usable = tuple(target for target in self.targets if target.is_usable)
        self.usable = usable or tuple(target for target in self.targets if not target.drained)
        self.panics = bool(self.usable) and not usable

    def mark(self, key: str, checked: bool, drained: bool) -> None:
        """What the active checks and an operator say of the target `key`, also where DNS names it later.

        One that comes back counts as new: it is not flooded.
        """
        if checked and not drained:
            self._marks.pop(key, None)
        else:
            self._marks[key] = (checked, drained)
        for target in self.targets:
            if target.key == key:
                returns = (checked and not target.checked) or (target.drained and not drained)
                target.checked, target.drained = checked, drained
                if returns:
                    target.started_at = self._deadlines.clock()
        self.refresh()

    def pick(self, tried: Sequence[Target], key: str | None, now: float) -> Target:
        """The next target, another than those tried. Raises GatewayError no_healthy_target where there is none."""
        candidates = self.usable
        if tried:
            candidates = tuple(target for target in candidates if target not in tried)
        if not candidates:
            raise GatewayError("no_healthy_target", f"upstream {self.name} has no target to try")
        if self.panics:
            self._registry.cells[self._panic] += 1.0
        picked = self.balancer.pick(candidates, key, now)
        if now - picked.started_at < picked.slow_start_s:
            return eased_in(picked, self.balancer, candidates, key, now, _RNG)
        return picked

    async def start(self) -> None:
        """Resolve the `dns://` names, and keep doing so."""
        names = [each for each in self.settings.targets if each.dns]
        for each in names:
            self._name(each, self._resolver.known(each.host, each.port))  # which holds, if it does not resolve now
            resolves = await self._resolves(each, before=True)
            self._refresh.append(asyncio.get_running_loop().create_task(self._keep_up(each, resolves)))

    def retire(self) -> None:
        """Take leave: what is idle is closed now, what is in use with its answer; then nothing is left of it."""
        self.close()
        self._left += self.targets
        self.targets = ()
        self._retired = True
        if self.circuit is not None:  # who takes its place writes the gauges anew, where it has them
            self.circuit.clear()
        if self.gate is not None:
            self.gate.clear()

    def _let_go(self) -> None:
        """Nobody is in it any more: it is gone without the garbage collector, which never looks at it."""
        self._registry.off_flush(self.flush)
        if self.ejections is not None:
            self.ejections = self.report = None

    def close(self) -> None:
        while self._refresh:  # forgotten, since each has ended with an error that knows this upstream
            self._refresh.pop().cancel()
        for target in self.targets:
            target.connections.close()

    def count_retry(self, outcome: str) -> None:
        cell = self._outcomes.get(outcome)
        if cell is None:
            cell = self._outcomes[outcome] = self._registry.counter(
                "gateway_upstream_retries_total", upstream=self.name, outcome=outcome
            )
        self._registry.cells[cell] += 1.0

    def count_hedge(self, outcome: str) -> None:
        cell = self._hedges.get(outcome)
        if cell is None:
            cell = self._hedges[outcome] = self._registry.counter(
                "gateway_upstream_hedges_total", upstream=self.name, outcome=outcome
            )
        self._registry.cells[cell] += 1.0

    def flush(self) -> None:
        """Write the gauges of all targets, and, where this upstream is the one in use, of what stands before them."""
        if not self._retired:
            if self.circuit is not None:
                self.circuit.flush()
            if self.gate is not None:
                self.gate.flush()
        for target in self._left:
            target.flush(up=False)
        for target in self.targets:  # behind the others: DNS may name an address again, and its series is the same
            target.flush()
        self._left = [target for target in self._left if target.in_flight]
        if self._retired and not self._left:
            self._let_go()

    async def _keep_up(self, named: TargetSettings, resolves: bool) -> None:
        while True:
            await asyncio.sleep(FRESH_S if resolves else AGAIN_S)
            resolves = await self._resolves(named, before=resolves)

    async def _resolves(self, named: TargetSettings, *, before: bool) -> bool:
        """Look `named` up; an outage is said once, and its end, which is when `before` was not so."""
        try:
            await self._look_up(named)
        except GatewayError as error:
            if before:
                has = any(self._is_of(target, named) for target in self.targets)
                then = "keeping the last answer" if has else "trying on"
                _log.warning("upstream %s: %s; %s", self.name, error.detail, then)
            return False
        if not before:
            _log.warning("upstream %s: the name %s resolves again", self.name, named.host)
        return True

    async def _look_up(self, named: TargetSettings) -> None:
        """Take the addresses that DNS names now; targets that stay keep their state."""
        self._name(named, await self._resolver.resolve(named.host, named.port, fresh=True))

    def _name(self, named: TargetSettings, answer: list[AddressInfo]) -> None:
        wanted = {label_of(info[4][0], named.port): info[4][0] for info in answer}
        ours = {target.key: target for target in self.targets if target.key in wanted}
        keep = [target for target in self.targets if target.key in wanted or not self._is_of(target, named)]
        for target in self.targets:
            if target not in keep:
                target.connections.close()
                self._left.append(target)
        new = [self._target(named, host, key) for key, host in wanted.items() if key not in ours]
        if new or len(keep) != len(self.targets):
            self._named_by |= {target.key: named for target in new}
            for target in new:
                target.checked, target.drained = self._marks.get(target.key, (True, False))
            self.targets = (*keep, *new)
            self.refresh()

    def _is_of(self, target: Target, named: TargetSettings) -> bool:
        return self._named_by.get(target.key) is named

    def _target(self, settings: TargetSettings, host: str, key: str = "") -> Target:
        key = key or settings.label
        to = Destination(
            host=host,
            port=settings.port,
            timeout_s=self.settings.timeout.connect_s,
            path=settings.path,
            tls=self._tls if settings.tls else None,
            tls_settings=self.settings.tls if settings.tls else None,
            server_name=self.settings.tls.server_name or settings.host,
        )
        connections = Connections(
            to=to,
            settings=self.settings.connections,
            dialer=self._dialer,
            deadlines=self._deadlines,
            outbox=self._outbox,
            memo=self.memo,
        )
        return Target(
            key=key,
            authority=settings.authority,
            weight=settings.weight,
            upstream=self.name,
            connections=connections,
            registry=self._registry,
            now=self._deadlines.clock(),
            slow_start_s=self.settings.slow_start_s,
        )

    def __repr__(self) -> str:
        return f"<Upstream {self.name} {self.targets}>"


def _gate(
    settings: UpstreamSettings, workers: int, registry: Registry, deadlines: Deadlines, outbox: Outbox
) -> Gate | None:
    if settings.concurrency is None:
        return None
    return Gate(
        settings.name,
        limiter=Fixed(settings.concurrency) if isinstance(settings.concurrency, int) else Adaptive(workers),
        queues=settings.queues,
        deadlines=deadlines,
        outbox=outbox,
        registry=registry,
    )


def label_of(host: str, port: int) -> str:
    """The key of a target that DNS named."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
