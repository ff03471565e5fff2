"""One WSGI call, worked off in turns on the threads of an executor.

A turn ends when the answer is complete, when AHEAD_BYTES of it wait for the client, or, at the next piece, after
TURN_S. So neither a slow client nor an endless answer keeps a thread: what follows is another turn, on any thread
of the executor but always in the same contextvars.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from time import monotonic
from types import TracebackType
from typing import Any, Final, TypeAlias

from gateway.core.message import Headers
from gateway.pipeline.apps.environ import Environ

AHEAD_BYTES: Final = 1024 * 1024
"""Of an answer that are made ahead of its client."""
TURN_S: Final = 1.0
"""After so long others may have the thread."""

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]
App: TypeAlias = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

_log = logging.getLogger(__name__)


class ClientLeft(ConnectionResetError):
    """Raised in the application, where it sends to a client that is gone."""


class Turns:
    """The call: calling it is one turn, for a thread; all else is for the loop."""

    __qualname__: str

    def __init__(self, app: App, environ: Environ, label: str, wake: Callable[[], None]) -> None:
        """wake: called on a thread when there is something to `take` before the turn ends."""
        self.label = label
        self.__module__, _, self.__qualname__ = label.partition(":")  # what executors call it in the log
        self.status = 0
        self.headers = Headers()
        self.finished = False
        """The answer is complete."""
        self._app = app
        self._environ = environ
        self._wake = wake
        self._in = copy_context()
        self._changed = threading.Condition()
        """Guards what follows, and tells `write` that there is room."""
        self._pieces: list[bytes] = []
        self._waiting = 0
        """Bytes that were made and that the client has not taken."""
        self._woken = False
        self._running = False
        self._stopped = False
        self._closed = False
        self._made = 0
        self._declared = -1
        self._result: Iterable[bytes] | None = None
        self._iterator: Iterator[bytes] | None = None

    # --- on a thread --------------------------------------------------------------------------------------------

    def __call__(self) -> None:
        """One turn. Raises what the application raises; TypeError, ValueError, RuntimeError on what breaks PEP 3333."""
        with self._changed:
            if self._stopped or self.finished:
                return
            self._running = True
        try:
            self._in.run(self._work)
        except BaseException:
            self._stopped = True
            raise
        finally:
            with self._changed:
                self._running = False
            if self._stopped or self.finished:
                self.close()

    def _work(self) -> None:
        until = monotonic() + TURN_S
        if self._iterator is None:
            self._result = self._app(self._environ, self._start_response)
            self._iterator = iter(self._result)
        at_once = isinstance(self._result, list | tuple)
        for piece in self._iterator:
            self._add(piece, wake=not at_once)
            if self._stopped or self._waiting >= AHEAD_BYTES or monotonic() > until:
                return
        self._check_end()
        self.finished = True

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None:
            try:
                if self._made:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # it holds this frame
        elif self.status:
            raise AssertionError("start_response was called a second time, without exc_info")
        code = status[:3]
        if not (code.isascii() and code.isdecimal() and 200 <= int(code) <= 599 and status[3:4] in ("", " ")):
            raise ValueError(f"{status!r} is not the status of an answer, such as '200 OK'")
        fields = Headers(headers)
        self._declared = declared_length(fields)
        self.status, self.headers = int(code), fields
        return self._write

    def _write(self, data: bytes) -> None:
        """The `write` of old applications: it waits while the client is behind, for there is no other way to wait."""
        self._add(data, wake=True)
        with self._changed:
            while self._waiting >= AHEAD_BYTES and not self._stopped:
                self._changed.wait()
        if self._stopped:
            raise ClientLeft("the client is gone")

    def _add(self, piece: bytes, *, wake: bool) -> None:
        if not isinstance(piece, bytes):
            raise TypeError(f"an answer is made of bytes, not of {type(piece).__name__}")
        if not self.status:
            raise RuntimeError("start_response was not called before the first piece of the answer")
        if not piece:
            return
        self._made += len(piece)
        if 0 <= self._declared < self._made and self._has_body:
            raise ValueError(f"more than the {self._declared} bytes of its Content-Length")
        with self._changed:
            self._pieces.append(piece)
            self._waiting += len(piece)
            tell = wake and not self._woken and self._made != self._declared
            self._woken = self._woken or tell
        if tell:
            self._wake()

    def _check_end(self) -> None:
        if not self.status:
            raise RuntimeError("the application returned without calling start_response")
        if self._made < self._declared and self._has_body:
            raise ValueError(f"{self._made} bytes, and its Content-Length says {self._declared}")

    @property
    def _has_body(self) -> bool:
        return self._environ["REQUEST_METHOD"] != "HEAD" and self.status not in (204, 304)

    def close(self) -> None:
        """Call `close` of what the application returned, once; for a thread, between turns."""
        with self._changed:
            if self._closed or self._running:
                return
            self._closed = True
        errors = self._environ.get("wsgi.errors")
        if errors is not None:
            errors.flush()
        close = getattr(self._result, "close", None)
        self._result = self._iterator = None
        if close is None:
            return
        try:
            self._in.run(close)
        except Exception:
            _log.exception("%s: close() of its answer failed", self.label)

    # --- on the loop --------------------------------------------------------------------------------------------

    def take(self) -> bytes:
        """What was made since; call `taken` when the client has it. The head does not change any more."""
        with self._changed:
            self._woken = False
            pieces, self._pieces = self._pieces, []
        return b"".join(pieces)

    def taken(self, size: int) -> None:
        """The client took `size` bytes."""
        with self._changed:
            self._waiting -= size
            self._changed.notify_all()

    @property
    def has_room(self) -> bool:
        """Whether another turn is worth its thread."""
        return self._waiting <= AHEAD_BYTES // 2

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called, or a thread is at it."""
        return self._closed

    def stop(self) -> bool:
        """Nothing more is wanted; whether `close` is still to be called, on a thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            return not self._closed and not self._running and self._result is not None

    def __repr__(self) -> str:
        return f"<Turns {self.label} {self.status} made {self._made}, waiting {self._waiting}>"


def declared_length(headers: Headers) -> int:
    """Of Content-Length; -1 where there is none. Raises ValueError."""
    value = headers.get("content-length")
    if value is None:
        return -1
    if not (value.isascii() and value.isdecimal()):
        raise ValueError(f"Content-Length is {value!r}, which is no number")
    return int(value)
