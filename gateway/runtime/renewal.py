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
    """Belongs to the loop thread. `on_used` is told the settings that hold from then on, and their sockets.

    One config follows the other in the order of the messages, also for a worker that comes to hear of several at once.
    """

    def __init__(
        self, gateway: Gateway, control: Control, on_used: Callable[[GatewaySettings, tuple[int, ...]], None]
    ) -> None:
        self._gateway = gateway
        self._control = control
        self._on_used = on_used
        self._number = 0
        self._wanted: asyncio.Future[bool] | None = None
        """Whether the config of that number is used, once that is decided."""
        self._task: asyncio.Task[None] | None = None

    def prepare(self, message: Prepare) -> None:
        """Build what the message brings; answers Prepared or Refused."""
        self._decide(self._number, False)
        self._number = message.number
        loop = asyncio.get_running_loop()
        self._wanted = loop.create_future()
        self._task = loop.create_task(self._renew(message, self._wanted, self._task))

    def use(self, message: Use) -> None:
        """Serve by it, now or as soon as it is built; answers Used."""
        self._decide(message.number, True)

    def forget(self, message: Forget) -> None:
        """It is not used."""
        self._decide(message.number, False)

    def _decide(self, number: int, wanted: bool) -> None:
        if self._wanted is not None and number == self._number and not self._wanted.done():
            self._wanted.set_result(wanted)

    async def _renew(
        self, message: Prepare, wanted: "asyncio.Future[bool]", before: "asyncio.Task[None] | None"
    ) -> None:
        if before is not None:
            await asyncio.wait([before])  # this one is built on what that one leaves
        if _forgotten(wanted):
            close_all([each for each in message.descriptors if each >= 0])
            return
        generation = self._gateway.next()
        settings, why = await self._ready(generation, message, wanted)
        if settings is None or not await wanted:
            generation.discard()
            close_all(message.sockets)
            if why:
                self._control.send(Refused(message.number, why))
            return
        asyncio.get_running_loop().run_in_executor(None, release, self._gateway.use(generation))
        self._on_used(settings, message.sockets)
        self._control.send(Used(message.number))

    async def _ready(
        self, generation: Generation, message: Prepare, wanted: "asyncio.Future[bool]"
    ) -> tuple[GatewaySettings | None, str]:
        """Its settings, once all of it is there; or why that is not to be, empty where nobody wants it any more."""
        try:
            settings = await self._build(generation, message.settings)
            if not await _start(generation, wanted):
                return None, ""
        except (CodeError, OSError, ProcessDied, ValueError) as error:
            return None, str(error)
        except Exception as error:
            _log.exception("the new config cannot be built")
            return None, f"{type(error).__name__}: {error}"
        self._control.send(Prepared(message.number))
        return settings, ""

    async def _build(self, generation: Generation, fd: int) -> GatewaySettings:
        """In a thread. Nothing of it is garbage, and looking for some would hold up the loop."""
        gc.collect(1)
        gc.disable()
        try:
            return await asyncio.get_running_loop().run_in_executor(None, _built, generation, fd)
        finally:
            gc.freeze()
            gc.enable()


async def _start(generation: Generation, wanted: "asyncio.Future[bool]") -> bool:
    """False if it is forgotten meanwhile: what it starts may take long."""
    starting = asyncio.ensure_future(generation.start())

    def decided(wanted: "asyncio.Future[bool]") -> None:
        if not wanted.result():
            starting.cancel()

    wanted.add_done_callback(decided)
    await asyncio.wait([starting])
    if starting.cancelled():
        return False
    starting.result()
    return True


def _forgotten(wanted: "asyncio.Future[bool]") -> bool:
    return wanted.done() and not wanted.result()


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
