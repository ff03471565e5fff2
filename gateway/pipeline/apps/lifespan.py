"""The life of an ASGI application (specs/lifespan): started before the first request, ended after the last."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

STARTUP_S: Final = 30.0
SHUTDOWN_S: Final = 4.0
"""Less than a worker has left when its drain time is over (`CUT_S` of runtime/workers.py)."""

Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)


class AppError(ValueError):
    """An application cannot serve; the text says why."""


class Lifespan:
    """One for each application, however many routes it answers."""

    def __init__(self, app: App, label: str, *, startup_s: float = STARTUP_S, shutdown_s: float = SHUTDOWN_S) -> None:
        self.app = app
        self.label = label
        self.state: dict[str, Any] = {}
        """What the start-up left for the requests; each gets a shallow copy."""
        self._startup_s = startup_s
        self._shutdown_s = shutdown_s
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._started: asyncio.Future[str] | None = None
        self._ended: asyncio.Future[str] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when the application is ready, or takes no part in this. Raises AppError."""
        loop = asyncio.get_running_loop()
        self._started, self._ended = loop.create_future(), loop.create_future()
        self._inbox.put_nowait({"type": "lifespan.startup"})
        self._task = loop.create_task(self._live())
        first: list[asyncio.Future[Any]] = [self._started, self._task]
        await asyncio.wait(first, timeout=self._startup_s, return_when=asyncio.FIRST_COMPLETED)
        if self._started.done():
            failure = self._started.result()
            if failure:
                _log.error("%s: its start-up failed: %s", self.label, failure)
                raise AppError(f"{self.label}: its start-up failed: {failure.strip().splitlines()[-1]}")
        elif self._task.done():
            self._task.result()
        else:
            self._task.cancel()
            raise AppError(f"{self.label}: its start-up (lifespan) took longer than {self._startup_s:g}s")

    async def _live(self) -> None:
        """Raises AppError where the application cannot be called at all."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        assert self._started is not None
        try:
            made = self.app(scope, self._inbox.get, self._send)
            if not hasattr(made, "__await__"):
                raise AppError(f"{self.label} is no ASGI 3 application; a WSGI one stands behind `app: {{wsgi: ...}}`")
            await made
        except AppError:
            raise
        except Exception as error:
            if not self._started.done():
                _log.info("%s takes no part in lifespan: %s: %s", self.label, type(error).__name__, error)
            elif not self._has_failed:
                _log.exception("%s: its lifespan failed", self.label)

    @property
    def _has_failed(self) -> bool:
        """Whether it said itself that it failed."""
        return any(each is not None and each.done() and each.result() for each in (self._started, self._ended))

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        whole, _, outcome = kind.rpartition(".")
        waiting = {"lifespan.startup": self._started, "lifespan.shutdown": self._ended}.get(whole)
        if waiting is None or outcome not in ("complete", "failed"):
            raise RuntimeError(f"{kind} is no message of lifespan")
        if not waiting.done():
            waiting.set_result("" if outcome == "complete" else message.get("message") or "it does not say why")

    async def stop(self) -> None:
        """Let the application end; returns within the time it has for that."""
        task, self._task = self._task, None
        if task is None or task.done():
            return
        self._inbox.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait([task], timeout=self._shutdown_s)
        if not task.done():
            _log.warning("%s: its shutdown (lifespan) took longer than %gs", self.label, self._shutdown_s)
            task.cancel()
        elif self._ended is not None and self._ended.done() and self._ended.result():
            _log.error("%s: its shutdown failed: %s", self.label, self._ended.result())

    def __repr__(self) -> str:
        return f"<Lifespan {self.label}>"
