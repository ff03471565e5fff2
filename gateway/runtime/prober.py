"""Active health checks, once for the whole gateway, on a thread and a loop of their own.

A probe reaches its target as the data plane does: the same dialer, TLS settings and names, a new connection each time.
"""

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from gateway.core.clock import monotonic
from gateway.core.errors import GatewayError
from gateway.decide.health.probes import Probes
from gateway.runtime.probe import probe
from gateway.transport.dial import Destination, Dialer
from gateway.transport.resolver import FRESH_S, Resolver
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
    """DNS does not name this target any more."""

    upstream: str
    target: str


class Prober:
    """Checks the targets of `upstreams`; `tell` is called on the prober's thread."""

    def __init__(self, upstreams: Iterable[UpstreamSettings], tell: Callable[[Checked | Gone], None]) -> None:
        self._upstreams = [each for each in upstreams if each.health]
        self._tell = tell
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        """Begin, where there is anything to check."""
        if self._upstreams:
            self._thread.start()

    def stop(self) -> None:
        """End; returns when it has ended, or after STOP_S."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(STOP_S)

    def _run(self) -> None:
        self._loop.run_until_complete(self._check_all())
        self._loop.close()

    async def _check_all(self) -> None:
        resolver = Resolver(self._loop, monotonic)
        checks = [_UpstreamChecks(each, resolver, self._loop, self._tell) for each in self._upstreams]
        tasks = [self._loop.create_task(each.run()) for each in checks]
        await self._stopping.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _UpstreamChecks:
    """The checks of one upstream."""

    def __init__(
        self,
        settings: UpstreamSettings,
        resolver: Resolver,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[Checked | Gone], None],
    ) -> None:
        assert settings.health is not None
        self._settings = settings
        self._health: HealthSettings = settings.health
        self._tls = client_tls(settings.tls) if any(each.tls for each in settings.targets) else None
        self._resolver = resolver
        self._dialer = Dialer(loop, resolver)
        self._loop = loop
        self._tell = tell

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for each in self._settings.targets:
                if each.dns:
                    group.create_task(self._follow(each))
                else:
                    group.create_task(self._check(each, each.host, each.label))

    async def _follow(self, named: TargetSettings) -> None:
        """Check every address of a name, for as long as the name stands for it."""
        running: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                with suppress(GatewayError):  # the workers say so, and keep the last answer as we do
                    found = await self._resolver.resolve(named.host, named.port, fresh=True)
                    self._take(named, {label_of(info[4][0], named.port): info[4][0] for info in found}, running)
                await asyncio.sleep(FRESH_S)
        finally:
            for task in running.values():
                task.cancel()

    def _take(self, named: TargetSettings, wanted: dict[str, str], running: dict[str, asyncio.Task[None]]) -> None:
        for key in running.keys() - wanted.keys():
            running.pop(key).cancel()
            self._tell(Gone(self._settings.name, key))
        for key in wanted.keys() - running.keys():
            running[key] = self._loop.create_task(self._check(named, wanted[key], key))

    async def _check(self, target: TargetSettings, host: str, key: str) -> None:
        """Check one address again and again."""
        health, probes = self._health, Probes(self._health.rise, self._health.fall)
        await asyncio.sleep(random.random() * min(health.every_s, FIRST_S))
        while True:
            due = self._loop.time() + health.every_s * (1 - SPREAD * random.random())
            passed, why = await probe(self._dialer, self._destination(target, host), target.authority, health.path)
            if probes.note(passed):
                state = "takes part again" if passed else "is put aside"
                _log.warning("upstream %s: target %s %s: %s", self._settings.name, key, state, why)
            self._tell(Checked(self._settings.name, key, passed, probes.up, why))
            await asyncio.sleep(max(0.0, due - self._loop.time()))

    def _destination(self, target: TargetSettings, host: str) -> Destination:
        return Destination(
            host=host,
            port=target.port,
            timeout_s=self._health.timeout_s,
            path=target.path,
            tls=self._tls if target.tls else None,
            server_name=self._settings.tls.server_name or target.host,
        )
