"""The listening addresses of one worker: what each config makes of them, until their last connection is gone."""

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.config.settings import GatewaySettings
from gateway.core.address import Address
from gateway.core.clock import Clock
from gateway.core.exchange import Exchange
from gateway.observe.registry import Registry
from gateway.pipeline.handle import UNMATCHED, Pipeline, Snapshot
from gateway.pipeline.route import RouteStats
from gateway.runtime.drain import SETTLE_S
from gateway.transport.deadlines import Deadlines
from gateway.transport.flow import Buffered
from gateway.transport.listener import Listener
from gateway.transport.outgoing import Outbox
from gateway.transport.settings import ClientSettings, ListenSettings
from gateway.transport.tls import read_certificate, server_tls

Log = Callable[[Exchange], None] | None


@dataclass(slots=True, eq=False)
class Entrance:
    """One listening address as one config has it: who takes its connections, and who answers on them."""

    settings: ListenSettings
    listener: Listener
    pipeline: Pipeline
    tls: ssl.SSLContext | None
    left_at: float = 0.0
    """When another one took its place."""


@dataclass(frozen=True, slots=True)
class EntranceMaker:
    """Makes entrances of settings, on any thread."""

    registry: Registry
    loop: asyncio.AbstractEventLoop
    clock: Clock
    deadlines: Deadlines
    buffered: Buffered
    outbox: Outbox

    def make(self, settings: ListenSettings, gateway: GatewaySettings, snapshot: Snapshot) -> Entrance:
        """Raises TlsError."""
        pipeline = Pipeline(
            snapshot,
            unmatched=RouteStats(UNMATCHED, self.registry),
            log=None,
            now=self.clock,
            redirect_https=settings.redirect_https,
        )
        tls = server_tls(settings.tls) if settings.tls else None
        return Entrance(settings, self._listener(settings, gateway, pipeline), pipeline, tls)

    def _listener(self, settings: ListenSettings, gateway: GatewaySettings, pipeline: Pipeline) -> Listener:
        cells = self.registry.cells
        total = self.registry.counter("gateway_connections_total", listener=settings.name)
        open_now = self.registry.gauge("gateway_connections_open", listener=settings.name)

        def opened() -> None:
            cells[total] += 1.0
            cells[open_now] += 1.0

        def closed() -> None:
            cells[open_now] -= 1.0

        return Listener(
            name=settings.name,
            scheme="https" if settings.tls else "http",
            settings=gateway.client,
            deadlines=self.deadlines,
            handler=pipeline,
            buffered=self.buffered,
            outbox=self.outbox,
            call_soon=self.loop.call_soon,
            on_open=opened,
            on_close=closed,
        )


class Entrances:
    """Those that take connections, and those whose last connections have not ended. Belongs to the loop thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, log: Log) -> None:
        self._loop = loop
        self._clock = clock
        self._log = log
        self.open: Sequence[Entrance] = ()
        """In the order of `listen`."""
        self._leaving: list[Entrance] = []

    def use(
        self,
        entrances: Sequence[Entrance],
        snapshot: Snapshot,
        guarded: Mapping[Address, frozenset[str]],
        client: ClientSettings,
    ) -> None:
        """Take connections by these. Those of an address that is no longer there end with the answer under way."""
        for each in self.open:
            if each not in entrances:
                each.left_at = self._clock()
                self._leaving.append(each)
                if each.settings.address not in guarded:
                    # as in a drain: the requests of those accepted last are still taken
                    self._loop.call_later(SETTLE_S, each.listener.drain)
        self.open = entrances
        for each in self:
            names = guarded.get(each.settings.address, each.pipeline.guarded_elsewhere)
            each.pipeline.use(snapshot, names)
            each.pipeline.log = self._log
            each.listener.use(client)

    def log_to(self, log: Log) -> None:
        """Tell `log` of exchanges that end from now on."""
        self._log = log
        for each in self:
            each.pipeline.log = log

    def renew(self) -> None:
        """Empty the memos, and forget those that have nothing left: to be called once a second."""
        self._leaving = [each for each in self._leaving if self._has_some(each)]
        for each in self:
            each.listener.memo.renew()
            each.pipeline.memo.renew()

    def _has_some(self, leaving: Entrance) -> bool:
        """A connection, or one that may still be in its handshake or ahead of its PROXY header."""
        handshakes_s = 2 * leaving.listener.settings.header_timeout_s + SETTLE_S
        return bool(leaving.listener.connections) or self._clock() - leaving.left_at < handshakes_s

    def drain(self) -> None:
        for each in self:
            each.listener.drain()

    @property
    def in_flight(self) -> int:
        return sum(each.pipeline.in_flight for each in self)

    @property
    def connections(self) -> int:
        return sum(len(each.listener.connections) for each in self)

    def close(self) -> None:
        """Cut every connection."""
        for each in self:
            for connection in list(each.listener.connections):
                connection.abort("draining")

    def __iter__(self) -> Iterator[Entrance]:
        yield from self.open
        yield from self._leaving

    def __repr__(self) -> str:
        return f"<Entrances {[each.listener for each in self]}>"


def guarded_elsewhere(listener: ListenSettings, all_listeners: tuple[ListenSettings, ...]) -> frozenset[str]:
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
