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
from gateway.observe.registry import Registry
from gateway.pipeline.handle import UNMATCHED, Pipeline
from gateway.pipeline.route import RouteStats
from gateway.runtime.aggregates import Aggregates
from gateway.runtime.apps import Apps
from gateway.runtime.executor_process import steps_of
from gateway.runtime.generation import Generation, Parts
from gateway.transport.deadlines import Deadlines
from gateway.transport.dial import Dialer
from gateway.transport.flow import Buffered
from gateway.transport.listener import Listener
from gateway.transport.outgoing import Outbox
from gateway.transport.resolver import Resolver
from gateway.transport.server import ServerConnection
from gateway.transport.settings import ListenSettings
from gateway.transport.tls import client_tls, read_certificate
from gateway.upstreams.ejections import Ejections
from gateway.upstreams.settings import UpstreamSettings
from gateway.upstreams.upstream import Upstream

RENEW_S = 1.0


class Gateway:
    """The data plane of one worker."""

    def __init__(
        self,
        *,
        listeners: list[Listener],
        pipelines: list[Pipeline],
        generation: Generation,
        parts: Parts,
        deadlines: Deadlines,
        buffered: Buffered,
    ) -> None:
        self.upstreams = generation.upstreams
        self.executors = parts.executors
        self._parts = parts
        self._apps = parts.apps
        self._aggregates = parts.aggregates
        self.buffered = buffered
        self._listeners = listeners
        self._pipelines = pipelines
        self._deadlines = deadlines
        self._renewed_at = 0.0

    def listener(self, index: int) -> Listener:
        """The listener of `settings.listen[index]`."""
        return self._listeners[index]

    def connection(self, index: int, peer: str | None = None) -> ServerConnection:
        """A protocol for a socket accepted on `settings.listen[index]`; `peer` where a PROXY header told it."""
        return ServerConnection(self._listeners[index], peer)

    async def start(self) -> None:
        """Do what has to be done before the first request: start processes, resolve names, start applications.

        Raises ProcessDied, AppError.
        """
        await self.executors.start()
        for upstream in self.upstreams.values():
            await upstream.start()
        await self._apps.start()

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
        for pipeline in self._pipelines:
            pipeline.overload = overload

    def _renew(self) -> None:
        for listener in self._listeners:
            listener.memo.renew()
        for pipeline in self._pipelines:
            pipeline.memo.renew()
        for upstream in self.upstreams.values():
            upstream.memo.renew()

    def mark(self, marks: Iterable[tuple[str, str, bool, bool]]) -> None:
        """Tell upstreams about their targets: upstream, address, whether it passes its checks, drained."""
        for name, key, checked, drained in marks:
            upstream = self.upstreams.get(name)
            if upstream is not None:
                upstream.mark(key, checked, drained)

    def next(self) -> Generation:
        """What may serve after the present one; it takes over the upstreams whose settings stay."""
        return Generation(self._parts, self.upstreams)

    def use(self, generation: Generation) -> None:
        """Serve by it from the next request on; exchanges under way finish on what they began with."""
        assert generation.snapshot is not None
        left = [each for name, each in self.upstreams.items() if generation.upstreams.get(name) is not each]
        for each in left:
            if each.name in generation.upstreams:
                generation.upstreams[each.name].follow(each)
        self.upstreams = generation.upstreams
        for pipeline in self._pipelines:
            pipeline.use(generation.snapshot)
        for upstream in left:
            upstream.retire()

    def begin_drain(self) -> None:
        """Idle client connections close now, the others with their next answer; WebSockets of applications, too."""
        for listener in self._listeners:
            listener.drain()
        self._apps.begin_drain()

    @property
    def in_flight(self) -> int:
        """Exchanges under way, open tunnels and streams included."""
        return sum(pipeline.in_flight for pipeline in self._pipelines)

    @property
    def connections(self) -> int:
        """Open client connections."""
        return sum(len(listener.connections) for listener in self._listeners)

    def close(self) -> None:
        """Cut what is still open."""
        for listener in self._listeners:
            for connection in list(listener.connections):
                connection.abort("draining")
        for upstream in self.upstreams.values():
            upstream.close()
        self._aggregates.close()
        self.executors.close()


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
    executors = Executors(settings.executors, registry, loop, steps_of(settings))
    parts = Parts(
        registry=registry,
        loop=loop,
        clock=clock,
        executors=executors,
        apps=Apps(executors),
        aggregates=Aggregates(registry=registry, loop=loop, now=clock),
        via=_via(settings),
        upstream=lambda each: _upstream(each, registry, dialer, resolver, deadlines, outbox),
    )
    generation = Generation(parts, {})
    snapshot = generation.build(settings)
    unmatched = RouteStats(UNMATCHED, registry)
    listeners, pipelines = [], []
    for each in settings.listen:
        pipeline = Pipeline(
            snapshot,
            unmatched=unmatched,
            log=log,
            now=clock,
            redirect_https=each.redirect_https,
            guarded_elsewhere=_guarded_elsewhere(each, settings.listen),
        )
        pipelines.append(pipeline)
        listeners.append(_listener(each, settings, pipeline, registry, deadlines, buffered, outbox, loop))
    gauge = registry.gauge("gateway_buffered_bytes")
    registry.on_flush(lambda: registry.cells.__setitem__(gauge, float(buffered.value)))
    return Gateway(
        listeners=listeners,
        pipelines=pipelines,
        generation=generation,
        parts=parts,
        deadlines=deadlines,
        buffered=buffered,
    )


def _via(settings: GatewaySettings) -> str:
    """Our entry in Via: the same for all workers of this gateway, another for every other gateway."""
    own = f"{socket.gethostname()} {settings.path} {[str(each.address) for each in settings.listen]}"
    return f"1.1 floodgate-{hashlib.sha256(own.encode()).hexdigest()[:8]}"


def _guarded_elsewhere(listener: ListenSettings, all_listeners: tuple[ListenSettings, ...]) -> frozenset[str]:
    """Names whose certificates stand on listeners that ask for client certificates of another CA than this one."""
    own = listener.tls.client_ca if listener.tls else ""
    names: set[str] = set()
    for other in all_listeners:
        if other.tls and other.tls.client_ca and other.tls.client_ca != own:
            for each in other.tls.certificates:
                names.update(read_certificate(each.cert).names)
    if listener.tls:
        for each in listener.tls.certificates:
            names.difference_update(read_certificate(each.cert).names)
    return frozenset(names)


def _upstream(
    settings: UpstreamSettings,
    registry: Registry,
    dialer: Dialer,
    resolver: Resolver,
    deadlines: Deadlines,
    outbox: Outbox,
) -> Upstream:
    wants_tls = any(target.tls for target in settings.targets)
    upstream = Upstream(
        settings,
        balancer=make_balancer(settings.balance, random.Random()),
        tls=client_tls(settings.tls) if wants_tls else None,
        registry=registry,
        dialer=dialer,
        resolver=resolver,
        deadlines=deadlines,
        outbox=outbox,
    )
    if settings.outlier is not None:
        Ejections(upstream, settings.outlier, registry, deadlines)
    return upstream


def _listener(
    settings: ListenSettings,
    gateway: GatewaySettings,
    pipeline: Pipeline,
    registry: Registry,
    deadlines: Deadlines,
    buffered: Buffered,
    outbox: Outbox,
    loop: asyncio.AbstractEventLoop,
) -> Listener:
    cells = registry.cells
    total = registry.counter("gateway_connections_total", listener=settings.name)
    open_now = registry.gauge("gateway_connections_open", listener=settings.name)

    def opened() -> None:
        cells[total] += 1.0
        cells[open_now] += 1.0

    def closed() -> None:
        cells[open_now] -= 1.0

    return Listener(
        name=settings.name,
        scheme="https" if settings.tls else "http",
        settings=gateway.client,
        deadlines=deadlines,
        handler=pipeline,
        buffered=buffered,
        outbox=outbox,
        call_soon=loop.call_soon,
        on_open=opened,
        on_close=closed,
    )
