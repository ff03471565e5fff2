"""The processes of the demo: they end with it, however it ends."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

from aiohttp import ClientError, ClientSession

READY_S = 30.0
STOP_S = 5.0
"""The gateway drains for 2 s (config/demo.yaml); what is not gone then is killed."""
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal this process gets when its parent dies."""


class ChildError(Exception):
    """A process of the demo did not start or ended by itself; the text says which, and what it said."""


class Children:
    """Starts Python modules as processes; leaving the block ends them, the last one started first.

    `quiet` keeps what they write for the error, should there be one; otherwise it goes to the terminal.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._stop = asyncio.Event()
        self._running: list[Child] = []

    async def __aenter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._signalled)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._running):
            await child.end()

    def _signalled(self) -> None:
        """The first signal stops the demo in order, a second one at once."""
        if self._stop.is_set():
            for child in self._running:
                child.kill()
        self._stop.set()

    async def start(
        self, name: str, module: str, *arguments: str, keep: Sequence[int] = (), env: dict[str, str] | None = None
    ) -> None:
        """`python -m module arguments`, with the descriptors `keep`. In a session of its own: Ctrl-C is ours."""
        said = TemporaryFile() if self._quiet else None  # noqa: SIM115 - lives as long as the child
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, **(env or {})},
            pass_fds=keep,
            start_new_session=True,
            preexec_fn=partial(_end_with, os.getpid()),
        )
        self._running.append(Child(name, process, said))

    async def ready(self, url: str) -> None:
        """Returns when `url` answers 200, or when a signal came. Raises ChildError when a child ended or time is up."""
        try:
            async with asyncio.timeout(READY_S), ClientSession() as session:
                while not self._stop.is_set() and not await _answers(session, url):
                    self._raise_for_ended()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise ChildError(f"{url} was not ready within {READY_S:.0f} s") from None

    async def until_stopped(self) -> None:
        """Returns when a signal came. Raises ChildError when a child ended before."""
        waits = [asyncio.ensure_future(child.process.wait()) for child in self._running]
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([*waits, stop], return_when=asyncio.FIRST_COMPLETED)
        if not self._stop.is_set():
            self._raise_for_ended()

    def _raise_for_ended(self) -> None:
        for child in self._running:
            if child.process.returncode is not None:
                raise ChildError(f"{child.name} ended by itself ({child.process.returncode})\n{child.said()}".rstrip())


@dataclass(frozen=True, slots=True)
class Child:
    """One running process; `output` is where it writes, None for the terminal."""

    name: str
    process: asyncio.subprocess.Process
    output: IO[bytes] | None

    async def end(self) -> None:
        """SIGTERM, and SIGKILL to its whole session should it not be gone in time."""
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self.process.wait()
        except TimeoutError:
            self.kill()
            await self.process.wait()
        if self.output:
            self.output.close()

    def kill(self) -> None:
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def said(self) -> str:
        if not self.output:
            return ""
        self.output.seek(0)
        return self.output.read().decode(errors="replace")


def _end_with(parent: int) -> None:
    """Runs in the child before its program: SIGTERM when the parent dies, though it be killed with SIGKILL."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died in between: no signal will come
        os._exit(1)


async def _answers(session: ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except (OSError, ClientError):
        return False
