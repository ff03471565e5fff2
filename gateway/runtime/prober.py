"""Active health checks, once for the whole gateway, on a thread and a loop of their own.

A probe reaches its target as the data plane does: the same dialer, TLS settings and names, a new connection each time.
"""

import asyncio
import logging
import random
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from gateway.core.clock import monotonic
from gateway.core.errors import GatewayError
from gateway.decide.health.probes import Probes
from gateway.runtime.probe import probe
from gateway.transport.dial import Destination, Dialer
from gateway.transport.resolver import AGAIN_S, FRESH_S, Resolver
from gateway.transport.settings import UpstreamTlsSettings
from gateway.transport.tls import client_tls
from gateway.upstreams.settings import HealthSettings, TargetSettings, UpstreamSettings
from gateway.upstreams.upstream import label_of

SPREAD = 0.2
"""Checks come up to this share of `every` early, by chance, so that those of many targets do not stay in step."""
FIRST_S = 1.0
"""The first checks are spread over this time, or over `every` where that is shorter."""
STOP_S = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of one check. `up`: what follows from all checks; `why`: what this one found."""

    upstream: str
    target: str
    passed: bool
    up: bool
    why: str


@dataclass(frozen=True, slots=True)
class Gone:
    """This target is checked no more: the config or DNS does not name it, or it is checked in another way from now."""

    upstream: str
    target: str


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is checked, and how. The same one before and after a reload is checked on, with the results so far."""

    upstream: str
    target: TargetSettings
    health: HealthSettings
    tls: UpstreamTlsSettings


class Prober:
    """Belongs to one thread; `tell` is called on another one, the prober's own."""

    def __init__(self, tell: Callable[[Checked | Gone], None]) -> None:
        self._tell = tell
        self._loop = asyncio.new_event_loop()
        self._wanted: frozenset[_Subject] = frozenset()
        self._changed = asyncio.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def check(self, upstreams: Iterable[UpstreamSettings]) -> None:
        """Check these from now on: what is the same goes on, the rest ends (Gone is told of it) or begins."""
        wanted = frozenset(
            _Subject(each.name, replace(target, weight=1), each.health, each.tls)
            for each in upstreams
            if each.health
            for target in each.targets
        )
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._want, wanted)
        elif wanted:
            self._wanted = wanted
            self._thread.start()

    def stop(self) -> None:
        """End; returns when it has ended, or after STOP_S."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._want, None)
            self._thread.join(STOP_S)
        else:
            self._loop.close()

    def _want(self, wanted: frozenset[_Subject] | None) -> None:
        self._stopping = wanted is None
        self._wanted = wanted or frozenset()
        self._changed.set()

    def _run(self) -> None:
        self._loop.run_until_complete(self._check_all())
        self._loop.close()

    async def _check_all(self) -> None:
        resolver = Resolver(self._loop, monotonic)
        running: dict[_Subject, asyncio.Task[None]] = {}
        while running or not self._stopping:
            self._changed.clear()
            await _cancel([running.pop(each) for each in running.keys() - self._wanted])  # the last that they say is
            for each in self._wanted - running.keys():  # said before those that follow them begin
                running[each] = self._loop.create_task(_Checks(each, resolver, self._loop, self._say).run())
            if not self._stopping:
                await self._changed.wait()

    def _say(self, event: Checked | Gone) -> None:
        if not self._stopping:  # then nothing is known to be gone, nobody looks any more
            self._tell(event)


class _Checks:
    """The checks of one subject."""

    def __init__(
        self,
        subject: _Subject,
        resolver: Resolver,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[Checked | Gone], None],
    ) -> None:
        self._subject = subject
        self._tls: ssl.SSLContext | None = None
        self._resolver = resolver
        self._dialer = Dialer(loop, resolver)
        self._loop = loop
        self._tell = tell

    async def run(self) -> None:
        target = self._subject.target
        try:
            self._tls = client_tls(self._subject.tls) if target.tls else None
        except (OSError, ValueError) as error:  # the workers could read it a moment ago
            _log.error("upstream %s: target %s is not checked: %s", self._subject.upstream, target.label, error)
        else:
            await (self._follow() if target.dns else self._check(target.host, target.label))

    async def _follow(self) -> None:
        """Check every address of a name, for as long as the name stands for it."""
        named, running = self._subject.target, dict[str, asyncio.Task[None]]()
        try:
            while True:
                pause_s = AGAIN_S
                with suppress(GatewayError):  # the workers say so, and keep the last answer as we do
                    found = await self._resolver.resolve(named.host, named.port, fresh=True)
                    wanted = {label_of(info[4][0], named.port): info[4][0] for info in found}
                    await _cancel([running.pop(key) for key in running.keys() - wanted.keys()])
                    for key in wanted.keys() - running.keys():
                        running[key] = self._loop.create_task(self._check(wanted[key], key))
                    pause_s = FRESH_S
                await asyncio.sleep(pause_s)
        finally:
            await _cancel(running.values())

    async def _check(self, host: str, key: str) -> None:
        """Check one address again and again."""
        name, health = self._subject.upstream, self._subject.health
        to, probes = self._destination(host), Probes(health.rise, health.fall)
        try:
            await asyncio.sleep(random.random() * min(health.every_s, FIRST_S))
            while True:
                due = self._loop.time() + health.every_s * (1 - SPREAD * random.random())
                passed, why = await probe(self._dialer, to, self._subject.target.authority, health.path)
                if probes.note(passed):
                    state = "takes part again" if passed else "is put aside"
                    _log.warning("upstream %s: target %s %s: %s", name, key, state, why)
                self._tell(Checked(name, key, passed, probes.up, why))
                await asyncio.sleep(max(0.0, due - self._loop.time()))
        finally:
            self._tell(Gone(name, key))

    def _destination(self, host: str) -> Destination:
        target = self._subject.target
        return Destination(
            host=host,
            port=target.port,
            timeout_s=self._subject.health.timeout_s,
            path=target.path,
            tls=self._tls,
            server_name=self._subject.tls.server_name or target.host,
        )


async def _cancel(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Returns when they have ended."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
