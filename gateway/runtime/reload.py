"""The supervisor's side of a reload: read aside, compare, let every worker build it, then let all of them use it.

Until every worker has built the new config, all of them serve by the old one: a config that only some can use, or that
is wrong, changes nothing.
"""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from gateway.admin.state import Reloaded, Reloads
from gateway.config.diff import changes
from gateway.config.settings import GatewaySettings
from gateway.runtime.control import Forget, Message, Prepare, Prepared, Refused, Use, Used, store_settings
from gateway.runtime.launch import Launcher, Process
from gateway.runtime.loading import LoadFailed
from gateway.runtime.sockets import Change, ListenErrors, Sockets
from gateway.runtime.workers import Workers

ANSWER_S = 60.0
"""For the workers to build a config: names may have to be resolved, modules imported."""

_log = logging.getLogger(__name__)

Read = Callable[[], tuple[GatewaySettings, tuple[str, ...]]]


class Reloader:
    """Belongs to the supervisor's loop. `on_used` is told the settings that hold from then on."""

    def __init__(
        self,
        read: Read,
        loaded: GatewaySettings,
        running: GatewaySettings,
        workers: Workers,
        launcher: Launcher,
        sockets: Sockets,
        on_used: Callable[[GatewaySettings], None],
    ) -> None:
        """read: the config from its file, raises LoadFailed; loaded: what it gave at the start; running: the same with
        the addresses that the system picked."""
        self._read = read
        self._loaded = loaded
        self._running = running
        self._workers = workers
        self._launcher = launcher
        self._sockets = sockets
        self._on_used = on_used
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[Reloaded] | None = None
        """Will read the file, and has not begun to."""
        self._tasks: set[asyncio.Task[Reloaded]] = set()
        """The one that reads or applies, and the next."""
        self._number = 0
        self._used = 0
        """The number of the last config that was used."""
        self._waiting: set[Process] = set()
        self._answered = asyncio.Event()
        self._refusals: list[str] = []
        self._counts: Counter[str] = Counter()
        self._successful = True
        self._loaded_at = time.time()
        self.sources = loaded.sources
        """Of the config that was tried last."""
        workers.listen(self._hear, self._gone)

    @property
    def facts(self) -> Reloads:
        """What the admin address shows."""
        return Reloads(dict(self._counts), self._successful, self._loaded_at)

    async def reload(self) -> Reloaded:
        """What came of it. Those that ask while one is under way share the one that follows it."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._one())
            self._tasks.add(self._next)
            self._next.add_done_callback(self._tasks.discard)
        return await asyncio.shield(self._next)

    def stop(self) -> None:
        """Give up what is under way: the gateway stops."""
        for task in self._tasks:
            task.cancel()

    async def _one(self) -> Reloaded:
        try:
            async with self._lock:
                self._next = None  # who asks from now on may mean a file that changed after it was read
                outcome = await self._reload()
        except asyncio.CancelledError:
            outcome = Reloaded(errors=("the gateway stops",))
        except Exception as failure:
            _log.exception("the config cannot be reloaded")
            outcome = Reloaded(errors=(f"{type(failure).__name__}: {failure}",))
        self._successful = not outcome.errors
        self._counts["success" if self._successful else "failure"] += 1
        for error in outcome.errors:
            _log.error("the config is not reloaded: %s", _headline(error))
        for warning in outcome.warnings:
            _log.warning("%s", _headline(warning))
        if self._successful:
            self._loaded_at = time.time()
            _log.info("reloaded: %s", "; ".join(_flat(outcome.changed)) or "nothing changed")
        return outcome

    async def _reload(self) -> Reloaded:
        try:
            loaded, warnings = await asyncio.to_thread(self._read)
        except LoadFailed as failure:
            self.sources = failure.sources.over(self.sources)  # where it broke off, more files may have been named
            return Reloaded(errors=failure.errors)
        self.sources = loaded.sources
        found = await asyncio.to_thread(changes, self._loaded, loaded)
        if found.refused:
            return Reloaded(errors=found.refused)
        try:
            change = await asyncio.to_thread(self._sockets.change, loaded.listen)
        except ListenErrors as failure:
            return Reloaded(errors=failure.errors)
        running = replace(loaded, listen=change.listen, admin=self._running.admin)
        try:
            errors = await self._apply(running, change)
        except BaseException:
            change.forget()
            raise
        if errors:
            change.forget()
            return Reloaded(errors=errors)
        self._loaded, self._running = loaded, running
        self._on_used(running)
        return Reloaded(changed={kind: texts for kind, texts in found.document().items() if texts}, warnings=warnings)

    async def _apply(self, settings: GatewaySettings, change: Change) -> tuple[str, ...]:
        """Errors, if it is not used."""
        fd = await asyncio.to_thread(store_settings, settings)
        self._number += 1
        prepare = Prepare(self._number, fd, change.descriptors)
        if not self._workers.processes:
            self._workers.hurry()  # somebody has to try it
        told = self._workers.processes
        for process in told:
            process.control.send(prepare)
        ready = {process for process in told if process.ready}
        errors = await self._prepared(ready or set(told), change)
        if errors:
            for process in told:
                process.control.send(Forget(self._number))
            os.close(fd)
            return errors
        os.close(self._launcher.use(fd, change.descriptors))
        self._used = self._number
        processes = self._workers.processes
        for process in processes:
            if process not in told:  # started meanwhile, with the old config
                process.control.send(prepare)
        self._sockets.use(change)  # ahead of the workers: the last to close a socket takes what it has queued
        for process in processes:
            process.control.send(Use(self._number))
        await self._answers({process for process in processes if process.ready and process in told})
        return ()

    async def _prepared(self, of: set[Process], change: Change) -> tuple[str, ...]:
        """Nothing when all are ready to use it, and clients can connect to what is new."""
        if not await self._answers(of):
            return tuple(dict.fromkeys(self._refusals)) or (f"the workers did not build it within {ANSWER_S:g} s",)
        try:
            change.listen_now()
        except ListenErrors as failure:
            return failure.errors
        return ()

    async def _answers(self, of: set[Process]) -> bool:
        """True when all of them that live have done what they were told; False when one refused or is late."""
        self._refusals.clear()
        self._answered.clear()
        self._waiting = of
        if not of:
            return True
        try:
            await asyncio.wait_for(self._answered.wait(), ANSWER_S)
        except TimeoutError:
            return False
        return not self._refusals

    def _hear(self, process: Process, message: Message) -> None:
        if not isinstance(message, Prepared | Refused | Used):
            return
        awaited = message.number == self._number and process in self._waiting
        if isinstance(message, Refused) and message.number == self._used:  # the others serve by it already
            _log.error("a worker that just started cannot use the new config and is replaced: %s", message.text)
            process.popen.kill()
        elif isinstance(message, Refused) and message.number == self._number:
            self._refusals.append(message.text)
        if awaited:
            self._gone(process)

    def _gone(self, process: Process) -> None:
        self._waiting.discard(process)
        if not self._waiting:
            self._answered.set()


def _headline(text: str) -> str:
    """Without the line of the file and its caret, which are for who asked: the log has one line for each."""
    return text.partition("\n")[0]


def _flat(changed: dict[str, list[str]]) -> list[str]:
    texts = [text for kind in changed.values() for text in kind]
    return texts if len(texts) <= 20 else [*texts[:20], f"and {len(texts) - 20} more"]
