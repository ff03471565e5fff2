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
from gateway.executors.turns import Turns
from gateway.observe.registry import Registry
from gateway.pipeline.fetcher import Fetcher
from gateway.pipeline.handle import Snapshot
from gateway.pipeline.lane import LaneAnswer
from gateway.pipeline.route import Route, RouteStats, WatchedStats
from gateway.pipeline.settings import RouteSettings
from gateway.runtime.aggregates import Aggregates
from gateway.runtime.answers import Answers
from gateway.runtime.apps import App, Apps
from gateway.runtime.entrances import Entrance, EntranceMaker, guarded_elsewhere
from gateway.runtime.executor_process import steps_of
from gateway.runtime.shares import Shares
from gateway.upstreams.settings import UpstreamSettings
from gateway.upstreams.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Parts:
    """What outlives a config: made once a worker, used by every generation."""

    registry: Registry
    loop: asyncio.AbstractEventLoop
    clock: Clock
    turns: Turns
    shares: Shares
    apps: Apps
    aggregates: Aggregates
    via: str
    entrances: EntranceMaker
    upstream: Callable[[UpstreamSettings], Upstream]
    """Makes one."""


class Generation:
    """Make it on the loop; `build` on any thread; then `start` on the loop; then it serves, or `discard`.

    Upstreams of `before`, entrances of `doors`, executors and applications whose settings are the same are taken over
    with all their state; an upstream whose settings change takes over what they do not change (`Upstream.begin`).
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
        self.settings: GatewaySettings | None = None
        """Once it is built, and without what it was built of."""
        self.share = parts.shares.next()
        # the dict is filled by `build`; the fetcher has to know the thread of the loop
        self._fetcher = Fetcher(self.upstreams, loop=parts.loop, now=parts.clock, via=parts.via)
        self.executors: Executors | None = None

    def build(self, settings: GatewaySettings) -> Snapshot:
        """Touches no socket. Raises TlsError on unreadable certificates, CodeError on Python that cannot be used."""
        for each in settings.upstreams:
            self.upstreams[each.name] = self._upstream(each)
        self.executors = self._make_executors(settings)
        answers = self._make_answers(self.executors)
        routes = [(each.match, self._route(each, settings, answers)) for each in settings.routes]
        snapshot = self.snapshot = Snapshot(
            table=RouteTable(routes),
            trusted=tuple(ip_network(each, strict=False) for each in settings.trusted_proxies),
            via=self._parts.via,
        )
        for listen in settings.listen:
            found = self._doors.get(listen)
            self.entrances.append(found or self._parts.entrances.make(listen, settings, snapshot))
            self.guarded[listen.address] = guarded_elsewhere(listen, settings.listen)
        self._before, self._doors = {}, {}
        self.settings = settings.once_built()
        return snapshot

    async def start(self) -> None:
        """Resolve names, start processes and applications, as far as they are new. Raises ProcessDied, AppError."""
        assert self.executors is not None
        await asyncio.gather(self.executors.start(), *[upstream.start() for upstream in self.fresh])
        for each in self.share.fresh:
            if isinstance(each, App):
                await each.start()

    def begin(self, before: Mapping[str, Upstream], marks: Mapping[str, Mapping[str, tuple[bool, bool]]]) -> None:
        """Its upstreams serve from now on, in the place of those of the same name in `before`.

        marks: by upstream and target, whether it passes its checks and whether it is drained.
        """
        for upstream in self.fresh:
            upstream.begin(before.get(upstream.name))
            for key, (checked, drained) in marks.get(upstream.name, {}).items():
                upstream.mark(key, checked, drained)

    def discard(self) -> None:
        """It never serves."""
        for upstream in self.fresh:
            upstream.close()
        self._parts.shares.discard(self.share)

    def _upstream(self, settings: UpstreamSettings) -> Upstream:
        found = self._before.get(settings.name)
        if found is None or found.settings != settings:
            found = self._parts.upstream(settings)
            self.fresh.append(found)
        return found

    def _make_executors(self, settings: GatewaySettings) -> Executors:
        parts = self._parts
        return Executors(
            settings.executors,
            parts.registry,
            parts.loop,
            steps_of(settings),
            turns=parts.turns,
            share=self.share.take,
        )

    def _make_answers(self, executors: Executors) -> Answers:
        parts = self._parts
        return Answers(
            self.upstreams,
            executors=executors,
            apps=parts.apps,
            share=self.share,
            aggregates=parts.aggregates,
            registry=parts.registry,
            fetcher=self._fetcher,
            via=parts.via,
            now=parts.clock,
        )

    def _route(self, settings: RouteSettings, gateway: GatewaySettings, answers: Answers) -> Route:
        limit = gateway.client.body_bytes if settings.body_bytes == -1 else settings.body_bytes
        answer = answers.make(settings)
        stats = self._stats(settings.name, shares=isinstance(answer, LaneAnswer))
        return Route(name=settings.name, answer=answer, body_limit=limit, stats=stats, weight=settings.class_weight)

    def _stats(self, name: str, *, shares: bool) -> RouteStats:
        """shares: the exchanges may use what outlives this config."""
        if not shares:
            return RouteStats(name, self._parts.registry)
        return WatchedStats(name, self._parts.registry, self.share.enter, self.share.leave)
