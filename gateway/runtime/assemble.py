"""From settings to a gateway on one loop: who gets handed what."""

import asyncio
import hashlib
import random
import socket
from collections.abc import Callable, Iterable

from gateway.config.settings import GatewaySettings
from gateway.core.clock import Clock, monotonic
from gateway.core.exchange import Exchange
from gateway.decide.balance.registry import make_balancer
from gateway.decide.resilience.overload import Overload
from gateway.executors.registry import Executors
from gateway.executors.turns import Turns
from gateway.observe.registry import Registry
from gateway.pipeline.handle import Snapshot
from gateway.runtime.aggregates import Aggregates
from gateway.runtime.apps import Apps
from gateway.runtime.entrances import EntranceMaker, Entrances
from gateway.runtime.generation import Generation, Parts
from gateway.runtime.shares import Shares
from gateway.transport.deadlines import Deadlines
from gateway.transport.dial import Dialer
from gateway.transport.flow import Buffered
from gateway.transport.listener import Listener
from gateway.transport.outgoing import Outbox
from gateway.transport.resolver import Resolver
from gateway.transport.server import ServerConnection
from gateway.transport.tls import client_tls
from gateway.upstreams.settings import UpstreamSettings
from gateway.upstreams.upstream import Upstream

RENEW_S = 1.0


class Gateway:
    """The data plane of one worker."""

    def __init__(
        self, *, entrances: Entrances, generation: Generation, parts: Parts, deadlines: Deadlines, buffered: Buffered
    ) -> None:
        self.upstreams = generation.upstreams
        self._snapshots = _snapshots(generation)
        self.entrances = entrances
        self._generation = generation
        self._parts = parts
        self._apps = parts.apps
        self._aggregates = parts.aggregates
        self.buffered = buffered
        self._deadlines = deadlines
        self._renewed_at = 0.0
        self._marks: dict[str, dict[str, tuple[bool, bool]]] = {}
        """Targets that fail their checks or are drained by upstream, also of such as only the next config names."""
        generation.begin({}, self._marks)
        self._begin()

    def listener(self, index: int) -> Listener:
        """The listener of `settings.listen[index]`."""
        return self.entrances.open[index].listener

    def connection(self, index: int) -> ServerConnection:
        """A protocol for a socket accepted on `settings.listen[index]`."""
        return ServerConnection(self.listener(index))

    async def start(self) -> None:
        """Do what has to be done before the first request: start processes, resolve names, start applications.

        Raises ProcessDied, AppError.
        """
        try:
            await self._generation.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Let the applications end, behind the last request."""
        await self._apps.stop()

    def tick(self, now: float) -> None:
        """Fire deadlines, and once a second forget what fills the memos; to be called every 50 ms."""
        self._deadlines.tick(now)
        if now - self._renewed_at >= RENEW_S:
            self._renewed_at = now
            self._renew()

    def shed(self, overload: Overload | None) -> None:
        """Ask it ahead of each new request; None: take all."""
        for each in self.entrances:
            each.pipeline.overload = overload

    def _renew(self) -> None:
        self.entrances.renew()
        for upstream in self.upstreams.values():
            upstream.memo.renew()

    def mark(self, marks: Iterable[tuple[str, str, bool, bool]]) -> None:
        """Tell upstreams about their targets: upstream, address, whether it passes its checks, drained."""
        for name, key, checked, drained in marks:
            known = self._marks.setdefault(name, {})
            if checked and not drained:
                known.pop(key, None)
            else:
                known[key] = (checked, drained)
            upstream = self.upstreams.get(name)
            if upstream is not None:
                upstream.mark(key, checked, drained)

    def next(self) -> Generation:
        """What may serve after the present one; it takes over the upstreams whose settings stay."""
        return Generation(self._parts, self.upstreams, self.entrances.open)

    def use(self, generation: Generation) -> list[Snapshot]:
        """Serve by it from the next request on; exchanges under way finish on what they began with.

        Returns what was served by until now, for `release`.
        """
        settings = generation.settings
        assert settings is not None
        before, self._snapshots = self._snapshots, _snapshots(generation)
        upstreams, self.upstreams = self.upstreams, generation.upstreams
        self._generation = generation
        generation.begin(upstreams, self._marks)
        self.entrances.use(generation.entrances, self._snapshots[0], generation.guarded, settings.client)
        self.buffered.limit_bytes = settings.limits.buffered_bytes
        for name, upstream in upstreams.items():
            if self.upstreams.get(name) is not upstream:
                upstream.retire()
        self._begin()
        return before

    def _begin(self) -> None:
        self._parts.shares.use(self._generation.share)
        self.executors.begin()

    @property
    def executors(self) -> Executors:
        """Those of the config that serves."""
        assert self._generation.executors is not None
        return self._generation.executors

    def begin_drain(self) -> None:
        """Idle client connections close now, the others with their next answer; WebSockets of applications, too."""
        self.entrances.drain()
        self._apps.begin_drain()

    @property
    def in_flight(self) -> int:
        """Exchanges under way, open tunnels and streams included."""
        return self.entrances.in_flight

    @property
    def connections(self) -> int:
        """Open client connections."""
        return self.entrances.connections

    def close(self) -> None:
        """Cut what is still open."""
        self.entrances.close()
        for upstream in self.upstreams.values():
            upstream.close()
        self._aggregates.close()
        self.executors.close()


def _snapshots(generation: Generation) -> list[Snapshot]:
    """The one it built: in a list, so that whoever empties that frees it."""
    assert generation.snapshot is not None
    return [generation.snapshot]


def assemble(
    settings: GatewaySettings,
    registry: Registry,
    loop: asyncio.AbstractEventLoop,
    *,
    log: Callable[[Exchange], None] | None = None,
    clock: Clock = monotonic,
    others_buffered: Callable[[], int] = lambda: 0,
) -> Gateway:
    """Build everything that one config says. Touches no socket.

    Raises TlsError on unreadable certificates, CodeError on Python that cannot be used.
    """
    deadlines = Deadlines(clock)
    resolver = Resolver(loop, clock)
    dialer = Dialer(loop, resolver)
    outbox = Outbox(loop.call_soon)
    buffered = Buffered(settings.limits.buffered_bytes, others_buffered)
    parts = Parts(
        registry=registry,
        loop=loop,
        clock=clock,
        turns=Turns(),
        shares=Shares(),
        apps=Apps(),
        aggregates=Aggregates(registry=registry, loop=loop, now=clock),
        via=_via(settings),
        entrances=EntranceMaker(registry, loop, clock, deadlines, buffered, outbox),
        upstream=lambda each: _upstream(
            each, registry, dialer, resolver, deadlines, outbox, loop, workers=settings.workers
        ),
    )
    generation = Generation(parts, {}, ())
    snapshot = generation.build(settings)
    entrances = Entrances(loop, clock, log)
    entrances.use(generation.entrances, snapshot, generation.guarded, settings.client)
    gauge = registry.gauge("gateway_buffered_bytes")
    registry.on_flush(lambda: registry.cells.__setitem__(gauge, float(buffered.value)))
    return Gateway(
        entrances=entrances,
        generation=generation,
        parts=parts,
        deadlines=deadlines,
        buffered=buffered,
    )


def _via(settings: GatewaySettings) -> str:
    """Our entry in Via: the same for all workers of this gateway, another for every other gateway.

    Made of what no reload changes, so that workers that start later have it, too.
    """
    own = f"{socket.gethostname()} {settings.path} {settings.admin.address}"
    return f"1.1 floodgate-{hashlib.sha256(own.encode()).hexdigest()[:8]}"


def _upstream(
    settings: UpstreamSettings,
    registry: Registry,
    dialer: Dialer,
    resolver: Resolver,
    deadlines: Deadlines,
    outbox: Outbox,
    loop: asyncio.AbstractEventLoop,
    *,
    workers: int,
) -> Upstream:
    wants_tls = any(target.tls for target in settings.targets)
    return Upstream(
        settings,
        balancer=make_balancer(settings.balance, random.Random()),
        tls=client_tls(settings.tls) if wants_tls else None,
        registry=registry,
        dialer=dialer,
        resolver=resolver,
        deadlines=deadlines,
        outbox=outbox,
        call_later=loop.call_later,
        workers=workers,
    )
