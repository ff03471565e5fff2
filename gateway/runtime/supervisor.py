"""The parent process: opens the sockets, keeps the workers, serves the admin address, obeys signals.

    start -> serving -> waiting (`shutdown.wait`: /readyz says 503, workers still accept) -> draining -> ended

It handles no request, so nothing a client sends can hurt it.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace

from gateway.admin.app import build_app
from gateway.admin.state import Reloaded, Reloads, TargetFacts
from gateway.config.settings import GatewaySettings
from gateway.observe.logs import setup
from gateway.observe.memory import HUNG_AFTER_S, SharedMemory, Slot, WorkerState
from gateway.runtime.admin_thread import AdminThread
from gateway.runtime.control import Message, Reopen, store_settings
from gateway.runtime.launch import WORKER, Launcher
from gateway.runtime.limits import raise_descriptor_limit
from gateway.runtime.listeners import ListenError, OpenSocket, open_socket
from gateway.runtime.loading import Reader
from gateway.runtime.prober import Checked, Gone, Prober
from gateway.runtime.reload import Read, Reloader
from gateway.runtime.sockets import Sockets
from gateway.runtime.target_book import TargetBook
from gateway.runtime.watch import Watch
from gateway.runtime.workers import RollError, StartError, Workers
from gateway.transport.settings import ListenSettings

_log = logging.getLogger(__name__)


class Supervisor:
    """One gateway. `run` returns the exit code. It is also what the admin address shows (AdminState)."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        read: Read | None = None,
        hung_after_s: float = HUNG_AFTER_S,
        worker_module: str = WORKER,
    ) -> None:
        """read: reads the config again, for reloads; raises LoadFailed."""
        self._settings = settings
        self._loaded = settings
        self._read = read or Reader(settings.path).read
        self._hung_after_s = hung_after_s
        self._worker_module = worker_module
        self._started_at = time.time()
        self._loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._sockets = Sockets()
        self._admin: OpenSocket | None = None
        self._slots: list[Slot] = []
        self._workers: Workers | None = None
        self._book = TargetBook(self._tell_workers)
        self._prober = Prober(self._on_check)
        self._reloader: Reloader | None = None
        self._roll: asyncio.Task[None] | None = None
        self._watch = Watch(lambda: self._reloader.sources if self._reloader else settings.sources, self._reload)

    @property
    def settings(self) -> GatewaySettings:
        return self._settings

    @property
    def loaded_at(self) -> float:
        return self.reloads.at

    @property
    def reloads(self) -> Reloads:
        return self._reloader.facts if self._reloader else Reloads({}, True, self._started_at)

    @property
    def started_at(self) -> float:
        return self._started_at

    @property
    def draining(self) -> bool:
        return self._stop.is_set()

    @property
    def slots(self) -> Sequence[Slot]:
        return [slot for slot in self._slots if slot.state is not WorkerState.EMPTY]

    @property
    def restarts(self) -> Mapping[str, int]:
        return self._workers.restarts if self._workers else {}

    @property
    def target_facts(self) -> Mapping[tuple[str, str], TargetFacts]:
        return self._book.facts

    @property
    def check_counts(self) -> Mapping[tuple[str, str, str], int]:
        return self._book.counts

    def drain_target(self, upstream: str, target: str, drained: bool) -> Future[None]:
        """Take a target out of balancing, or back in; done when every worker was told. From any thread."""

        async def drain() -> None:
            self._book.drain(upstream, target, drained)

        return asyncio.run_coroutine_threadsafe(drain(), self._loop)

    def _tell_workers(self, message: Message) -> None:
        if self._workers:
            self._workers.tell(message)

    def _on_check(self, event: Checked | Gone) -> None:
        """On the prober's thread."""
        with suppress(RuntimeError):  # the loop is closed where the prober is late to end
            self._loop.call_soon_threadsafe(self._book.note, event)

    def drain(self) -> None:
        """Begin to drain, and end after it; may be called from any thread, and again."""
        self._loop.call_soon_threadsafe(self._begin_drain)

    def reload(self) -> Future[Reloaded]:
        """Read the config again and serve by it; from any thread."""
        return asyncio.run_coroutine_threadsafe(self._reload(), self._loop)

    async def _reload(self) -> Reloaded:
        if self._reloader is None or not self._serves:
            return Reloaded(errors=("a config is reloaded only while the gateway serves",))
        return await self._reloader.reload()

    @property
    def _serves(self) -> bool:
        return self._workers is not None and self._workers.started and not self._stop.is_set()

    def _on_used(self, settings: GatewaySettings) -> None:
        before, self._settings = self._settings, settings
        if settings.log != before.log:
            setup(settings.log, "supervisor")
        if settings.limits.connections != before.limits.connections:
            self._warn_of_descriptors()
        _tell_listeners(before.listen, settings.listen)
        self._book.keep(settings.upstreams)
        self._prober.check(settings.upstreams)
        self._watch.use(settings.watch and not self._stop.is_set())

    def run(self) -> int:
        """Serve until told to end: 0, or 1 after saying why it cannot."""
        try:
            return self._loop.run_until_complete(self._run())
        except (ListenError, StartError) as error:
            _log.error("%s", error)
            return 1
        finally:
            self._sockets.close()
            if self._admin is not None:
                self._admin.close(for_good=True)
            self._loop.close()

    async def _run(self) -> int:
        raise_descriptor_limit()
        admin = self._open()
        thread = AdminThread(build_app(self), admin.sock)
        workers = self._workers = self._make_workers()
        self._on_signals()
        serving = self._loop.create_task(self._serve(workers, thread, admin))
        at_once = self._loop.create_task(self._stop_now.wait())
        try:
            await asyncio.wait({serving, at_once}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
        finally:
            serving.cancel()
            at_once.cancel()
            await workers.kill()
            self._prober.stop()
            thread.stop()
        _log.info("stopped")
        return 0

    async def _serve(self, workers: Workers, thread: AdminThread, admin: OpenSocket) -> None:
        thread.start()
        await workers.start()
        self._greet(admin)
        self._prober.check(self._settings.upstreams)
        self._watch.use(self._settings.watch)
        await self._serve_until_ended(workers)

    async def _serve_until_ended(self, workers: Workers) -> None:
        await self._stop.wait()
        shutdown = self._settings.shutdown
        if shutdown.wait_s:
            _log.info("stopping: /readyz says 503, connections are still taken for %g s", shutdown.wait_s)
            await asyncio.sleep(shutdown.wait_s)
        _log.info("draining: requests under way have %g s", shutdown.drain_s)
        self._sockets.close()
        await workers.drain(shutdown.drain_s)

    def _open(self) -> OpenSocket:
        """Open every listener and the admin address; settings get the addresses that the system picked."""
        change = self._sockets.change(self._settings.listen)
        self._sockets.use(change)
        change.listen_now()
        admin = self._admin = open_socket(self._settings.admin.address)
        self._settings = replace(
            self._settings,
            listen=change.listen,
            admin=replace(self._settings.admin, address=admin.address),
        )
        return admin

    def _make_workers(self) -> Workers:
        count = self._settings.workers
        memory = SharedMemory(SharedMemory.create(count + 1))  # one to spare, for a successor
        self._slots = memory.slots
        launcher = Launcher(
            slots=count + 1,
            settings=store_settings(self._settings),
            memory=memory.fd,
            sockets=self._sockets.descriptors,
            module=self._worker_module,
        )
        *slots, spare = memory.slots
        workers = Workers(
            self._loop, slots, launcher, spare=spare, hung_after_s=self._hung_after_s, news=self._book.news
        )
        self._reloader = Reloader(
            self._read, self._loaded, self._settings, workers, launcher, self._sockets, self._on_used
        )
        return workers

    def _on_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_stop_signal)
        self._loop.add_signal_handler(signal.SIGHUP, self._on_reload_signal)
        self._loop.add_signal_handler(signal.SIGUSR1, self._on_reopen_signal)
        self._loop.add_signal_handler(signal.SIGUSR2, self._on_upgrade_signal)

    def _on_stop_signal(self) -> None:
        if self._stop.is_set():
            _log.warning("told to stop again: stopping at once")
            self._stop_now.set()
        self._begin_drain()

    def _begin_drain(self) -> None:
        if self._stop.is_set():
            return
        self._watch.use(False)
        for slot in self._slots:
            slot.draining = True
        if self._roll is not None:
            self._roll.cancel()
        if self._reloader is not None:
            self._reloader.stop()
        self._stop.set()

    def _on_reopen_signal(self) -> None:
        _log.info("reopening the logs")
        if self._workers:
            self._workers.tell(Reopen())

    def _on_reload_signal(self) -> None:
        if self._serves:
            self.reload()
        else:
            _log.warning("SIGHUP: the config is reloaded only while the gateway serves")

    def _on_upgrade_signal(self) -> None:
        if self._workers is None or not self._serves:
            _log.warning("SIGUSR2: workers are replaced only while the gateway serves")
        elif self._roll is not None and not self._roll.done():
            _log.warning("SIGUSR2: the workers are being replaced already")
        else:
            self._roll = self._loop.create_task(self._replace_all(self._workers))

    async def _replace_all(self, workers: Workers) -> None:
        _log.info("replacing the workers, one after the other")
        try:
            await workers.roll(self._settings.shutdown.drain_s)
        except RollError as error:
            _log.error("a new worker does not serve, those that run stay: %s", error)
        else:
            _log.info("all workers were replaced")

    def _greet(self, admin: OpenSocket) -> None:
        _tell_listeners((), self._settings.listen)
        _log.info("admin on %s%s", "" if admin.address.path else "http://", admin.address)
        workers, limit = self._settings.workers, raise_descriptor_limit()
        _log.info("%d worker(s), pid %d; at most %d open files a worker", workers, os.getpid(), limit)
        self._warn_of_descriptors()

    def _warn_of_descriptors(self) -> None:
        limit, wanted = raise_descriptor_limit(), self._settings.limits.connections
        if limit < wanted:
            _log.warning(
                "limits.connections is %d, but a process may have only %d files open: raise LimitNOFILE or ulimit -n",
                wanted,
                limit,
            )


def _tell_listeners(before: Sequence[ListenSettings], after: Sequence[ListenSettings]) -> None:
    old, new = [_url(each) for each in before], [_url(each) for each in after]
    for each in old:
        if each not in new:
            _log.info("closed the listener %s", each)
    for each in new:
        if each not in old:
            _log.info("listening on %s", each)


def _url(listener: ListenSettings) -> str:
    address = listener.address
    scheme = "" if address.path or address.fd >= 0 else "https://" if listener.tls else "http://"
    return f"{scheme}{address}"
