"""The admin address is served by a thread of the supervisor with a loop of its own, at a lower priority.

So a scrape of twenty thousand series delays neither the watch over the workers nor, on a busy machine, the workers.
"""

import asyncio
import logging
import os
import socket
import threading
from contextlib import suppress
from typing import Any

from aiohttp import web

from gateway.core.interpreter import NICE

STOP_S = 2.0

_log = logging.getLogger(__name__)


class AdminThread:
    """Serves `app` on a listening socket until stopped."""

    def __init__(self, app: web.Application, sock: socket.socket) -> None:
        self._app = app
        self._socket = sock
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="admin", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop serving; returns when it has stopped, or after STOP_S."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(STOP_S)

    def _run(self) -> None:
        with suppress(OSError):  # some sandboxes forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)  # of this thread alone
        self._loop.set_exception_handler(_tell)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=STOP_S / 2)
        await runner.setup()
        await web.SockSite(runner, self._socket).start()
        await self._stopping.wait()
        await runner.cleanup()


def _tell(_: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
    _log.error("admin address: %s", what.get("message"), exc_info=what.get("exception"))
