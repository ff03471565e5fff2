"""`watch: true`: the config is read again when a file that it was made of changed.

The files are looked at twice a second. The kernel could tell of changes (inotify), but not of those that another
machine makes on a network file system, and, of a file or a link that is replaced, only to who watches every directory
on the way to it; a look at one file costs 2 us.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gateway.config.sources import Sources

EVERY_S = 0.5
"""What changed has to stay as it is for so long: several writes are one change, and no file is read half-written."""

_log = logging.getLogger(__name__)


class Watch:
    """Belongs to a loop. `read_from`: what the config was made of, the last time that somebody tried to read it."""

    def __init__(
        self, read_from: Callable[[], Sources], reload: Callable[[], Awaitable[object]], *, every_s: float = EVERY_S
    ) -> None:
        self._read_from = read_from
        self._reload = reload
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def use(self, on: bool) -> None:
        """Begin or end to watch."""
        if on and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif not on and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        seen = tried = Sources()
        while True:
            await asyncio.sleep(self._every_s)
            known = self._read_from()
            found = await asyncio.to_thread(known.look)
            if found == seen and found not in (known, tried):
                tried = found  # a reading that fails is not tried again until something changes
                _log.info("changed: %s; the config is read again", ", ".join(found.changed(known)))
                await self._reload()
            seen = found

    def __repr__(self) -> str:
        return f"<Watch {'on' if self._task else 'off'}>"
