"""A worker's side of a reload: the new config is built beside the requests, and used by one assignment."""

import asyncio
import gc
import logging
import os
from collections.abc import Callable

from gateway.config.settings import GatewaySettings
from gateway.executors.process import ProcessDied
from gateway.pipeline.python import CodeError
from gateway.runtime.assemble import Gateway
from gateway.runtime.control import Control, Forget, Prepare, Prepared, Refused, Use, Used, fetch_settings
from gateway.runtime.doors import close_all
from gateway.runtime.generation import Generation
from gateway.runtime.release import free, release

_log = logging.getLogger(__name__)


class Renewal:
    """Belongs to the loop thread. `on_used` is told the settings that hold from then on, and their sockets."""

    def __init__(
        self, gateway: Gateway, control: Control, on_used: Callable[[GatewaySettings, tuple[int, ...]], None]
    ) -> None:
        self._gateway = gateway
        self._control = control
        self._on_used = on_used
        self._number = 0
        self._wanted = 0
        self._task: asyncio.Task[None] | None = None
        self._ready: tuple[Generation, GatewaySettings] | None = None
        self._sockets: tuple[int, ...] = ()
        """Of what is being built or ready."""

    def prepare(self, message: Prepare) -> None:
        """Build what the message brings; answers Prepared or Refused."""
        self._drop()
        self._number = message.number
        self._sockets = message.sockets
        self._task = asyncio.get_running_loop().create_task(self._prepare(message))

    def use(self, message: Use) -> None:
        """Serve by it, now or as soon as it is built; answers Used."""
        self._wanted = message.number
        self._use()

    def forget(self, message: Forget) -> None:
        """It is not used."""
        if message.number == self._number:
            self._drop()

    def _drop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._ready is not None:
            self._ready[0].discard()
            self._ready = None
        self._close_sockets()

    def _close_sockets(self) -> None:
        sockets, self._sockets = self._sockets, ()
        close_all(sockets)

    async def _prepare(self, message: Prepare) -> None:
        generation = self._gateway.next()
        try:
            settings = await self._build(generation, message.settings)
            await generation.start()
        except asyncio.CancelledError:
            generation.discard()
            raise
        except (CodeError, OSError, ProcessDied, ValueError) as error:
            self._refuse(generation, message.number, str(error))
            return
        except Exception as error:
            _log.exception("the new config cannot be built")
            self._refuse(generation, message.number, f"{type(error).__name__}: {error}")
            return
        self._ready = generation, settings
        self._control.send(Prepared(message.number))
        self._use()

    async def _build(self, generation: Generation, fd: int) -> GatewaySettings:
        """In a thread. Nothing of it is garbage, and looking for some would hold up the loop."""
        gc.collect(1)
        gc.disable()
        try:
            return await asyncio.get_running_loop().run_in_executor(None, _built, generation, fd)
        finally:
            gc.freeze()
            gc.enable()

    def _refuse(self, generation: Generation, number: int, why: str) -> None:
        generation.discard()
        self._close_sockets()
        self._control.send(Refused(number, why))

    def _use(self) -> None:
        if self._ready is None or self._wanted != self._number:
            return
        (generation, settings), self._ready = self._ready, None
        sockets, self._sockets = self._sockets, ()
        asyncio.get_running_loop().run_in_executor(None, release, self._gateway.use(generation))
        self._on_used(settings, sockets)
        self._control.send(Used(self._number))


def _built(generation: Generation, fd: int) -> GatewaySettings:
    if fd < 0:
        raise OSError("no descriptor is left for the new config: raise the limit of open files")
    try:
        settings = fetch_settings(fd)
    finally:
        os.close(fd)
    generation.build(settings)
    routes: list[object] = [*settings.routes]
    settings = settings.once_built()
    free(routes)
    return settings
