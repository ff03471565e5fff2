"""What one config makes of its routes, upstreams and listeners, built aside while another one serves."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from gateway.config.settings import GatewaySettings
from gateway.core.address import Address
from gateway.core.clock import Clock
from gateway.decide.route.table import RouteTable
from gateway.executors.registry import Executors
from gateway.observe.registry import Registry
from gateway.pipeline.fetcher import Fetcher
from gateway.pipeline.handle import Snapshot
from gateway.pipeline.route import Route, RouteStats
from gateway.pipeline.settings import RouteSettings
from gateway.runtime.aggregates import Aggregates
from gateway.runtime.answers import Answers
from gateway.runtime.apps import Apps
from gateway.runtime.entrances import Entrance, EntranceMaker, guarded_elsewhere
from gateway.upstreams.settings import UpstreamSettings
from gateway.upstreams.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Parts:
    """What outlives a config: made once a worker, used by every generation."""

    registry: Registry
    loop: asyncio.AbstractEventLoop
    clock: Clock
    executors: Executors
    apps: Apps
    aggregates: Aggregates
    via: str
    entrances: EntranceMaker
    upstream: Callable[[UpstreamSettings], Upstream]
    """Makes one."""


class Generation:
    """Make it on the loop; `build` on any thread; then `start` on the loop; then it serves, or `discard`.

    Upstreams of `before` and entrances of `doors` whose settings are the same are taken over with all their state.
    """

    def __init__(self, parts: Parts, before: Mapping[str, Upstream], doors: Sequence[Entrance]) -> None:
        self._parts = parts
        self._before = before
        self._doors = {each.settings: each for each in doors}
        self.entrances: list[Entrance] = []
        """In the order of `listen`."""
        self.guarded: dict[Address, frozenset[str]] = {}
        """By address of a listener, the names that only others serve."""
        self.upstreams: dict[str, Upstream] = {}
        self.fresh: list[Upstream] = []
        """Those of `upstreams` that were not there before."""
        self.snapshot: Snapshot | None = None
        # the dict is filled by `build`; the fetcher has to know the thread of the loop
        fetcher = Fetcher(self.upstreams, loop=parts.loop, now=parts.clock, via=parts.via)
        self._answers = Answers(
            self.upstreams,
            executors=parts.executors,
            apps=parts.apps,
            aggregates=parts.aggregates,
            registry=parts.registry,
            fetcher=fetcher,
            via=parts.via,
            now=parts.clock,
        )

    def build(self, settings: GatewaySettings) -> Snapshot:
        """Touches no socket. Raises TlsError on unreadable certificates, CodeError on Python that cannot be used."""
        for each in settings.upstreams:
            self.upstreams[each.name] = self._upstream(each)
        routes = [(each.match, self._route(each, settings)) for each in settings.routes]
        snapshot = self.snapshot = Snapshot(
            table=RouteTable(routes),
            trusted=tuple(ip_network(each, strict=False) for each in settings.trusted_proxies),
            via=self._parts.via,
        )
        for listen in settings.listen:
            found = self._doors.get(listen)
            self.entrances.append(found or self._parts.entrances.make(listen, settings, snapshot))
            self.guarded[listen.address] = guarded_elsewhere(listen, settings.listen)
        return snapshot

    async def start(self) -> None:
        """Resolve the names of new upstreams."""
        await asyncio.gather(*[upstream.start() for upstream in self.fresh])

    def discard(self) -> None:
        """It never serves."""
        for upstream in self.fresh:
            upstream.discard()

    def _upstream(self, settings: UpstreamSettings) -> Upstream:
        found = self._before.get(settings.name)
        if found is None or found.settings != settings:
            found = self._parts.upstream(settings)
            self.fresh.append(found)
        return found

    def _route(self, settings: RouteSettings, gateway: GatewaySettings) -> Route:
        limit = gateway.client.body_bytes if settings.body_bytes == -1 else settings.body_bytes
        stats = RouteStats(settings.name, self._parts.registry)
        answer = self._answers.make(settings)
        return Route(name=settings.name, answer=answer, body_limit=limit, stats=stats, weight=settings.class_weight)
