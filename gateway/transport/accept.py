"""Accepting: each worker takes connections off the shared listening socket itself, a few per turn of the loop.

A connection that is due waits in the system's queue, where every worker can take it; so a worker that is full, hung or
dead holds up nobody. Plain connections are handed to the loop without a task (a third less CPU than with one).
"""

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Protocol

from gateway.transport.proxy_protocol import read_header
from gateway.transport.tls import handshake_error

BATCH = 16
"""Connections taken per wake-up, so that a flood of them does not hold up the requests of the others."""
QUEUED = 4096
"""At most so many are taken when stopping: the longest queue the system keeps by default."""
PAUSE_S = 0.1
"""Between two looks for free descriptors; nginx waits 0.5 s."""
HOLD_S = 0.005
"""How long a worker that is ahead leaves new connections to the others."""
SHUTDOWN_S = 2.0
"""For the close_notify of a TLS client that we closed."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_GONE = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})
_log = logging.getLogger(__name__)


class Admission(Protocol):
    """How many more connections the gateway takes; over all workers."""

    def room(self) -> int:
        """Connections that may still be taken; 0 or less: refuse."""

    def ahead(self) -> bool:
        """True while this worker has clearly more than its share."""


class AcceptEvents(Protocol):
    """Who counts what happens before there is a protocol."""

    def accept_paused(self) -> None: ...
    def rejected(self, reason: str) -> None: ...
    def handshake_failed(self, reason: str) -> None: ...


class _Accepted:
    """As much of a socket as uvloop's `connect_accepted_socket` asks for; the transport owns the descriptor.

    Making a real socket object costs 5 us of the 38 us that a connection of one request costs.
    """

    __slots__ = ("_fd", "family")
    type = socket.SOCK_STREAM

    def __init__(self, fd: int, family: int) -> None:
        self._fd = fd
        self.family = family

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """The transport has closed the descriptor."""


class Acceptor:
    """Takes connections off one listening socket and gives each to a new protocol. Needs a uvloop loop.

    `make_protocol` is called without an argument, or with the client's address where a PROXY header tells it.
    A connection beyond the cap is taken and refused at once (`refusal`, or a plain close under TLS), not left in the
    queue: whoever balances in front of several gateways should learn of it within a millisecond and go elsewhere.
    Out of descriptors, or within `reserve` of it (upstreams, logs and DNS need some), it stops accepting until some
    are free; connections wait in the queue meanwhile.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        make_protocol: Callable[..., asyncio.Protocol],
        *,
        admission: Admission,
        events: AcceptEvents,
        tls: ssl.SSLContext | None = None,
        handshake_s: float = 10.0,
        proxy_protocol: bool = False,
        refusal: Callable[[], bytes] | None = None,
        highest_fd: int = 1 << 30,
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._socket = sock
        self._fd = sock.fileno()
        self._family = int(sock.family)
        # socket.accept() less the socket object around the descriptor; like it, non-inheritable.
        self._accept: Callable[[], tuple[int, Any]] = sock._accept  # type: ignore[attr-defined]
        self._make_protocol = make_protocol
        self._admission = admission
        self._events = events
        self._tls = tls
        self._handshake_s = handshake_s
        self._proxy_protocol = proxy_protocol
        self._refusal = refusal
        self._highest_fd = highest_fd
        self._timer: asyncio.TimerHandle | None = None
        self._held = False
        self._pending: set[asyncio.Future[Any]] = set()
        self.state = "stopped"

    @property
    def handshaking(self) -> int:
        """Connections under TLS handshake or waiting for their PROXY header: no protocol knows them yet."""
        return len(self._pending)

    def serve(
        self,
        make_protocol: Callable[..., asyncio.Protocol],
        *,
        tls: ssl.SSLContext | None,
        proxy_protocol: bool,
        handshake_s: float,
    ) -> None:
        """Treat connections so from the next one on."""
        self._make_protocol = make_protocol
        self._handshake_s = handshake_s
        self._tls = tls
        self._proxy_protocol = proxy_protocol

    def start(self) -> None:
        self._listen()

    def stop(self) -> None:
        """Take what the system has queued (those clients are connected and expect an answer), then no more."""
        accepting = self.state == "accepting" or self._held
        self._unlisten("stopped")
        for _ in range(QUEUED // BATCH):
            if not accepting or self._take() == 0:
                return

    def _listen(self) -> None:
        self._timer = None
        self.state = "accepting"
        self._loop.add_reader(self._fd, self._on_ready)

    def _unlisten(self, state: str) -> None:
        # Level-triggered: a reader that does not accept would be called again and again.
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.state = state
        self._loop.remove_reader(self._fd)

    def _on_ready(self) -> None:
        if not self._held and self._admission.ahead():
            self._held = True
            self._unlisten("holding")
            self._timer = self._loop.call_later(HOLD_S, self._listen)
            return
        self._held = False  # whoever still waits after a hold, the others do not take
        self._take()

    def _take(self) -> int:
        """Accept up to BATCH connections; how many it were."""
        room = self._admission.room()
        for taken in range(BATCH):
            try:
                fd, _ = self._accept()
            except BlockingIOError:
                return taken
            except OSError as error:
                if not self._survives(error):
                    return 0
                continue
            if taken < room:
                self._connect(fd)
            else:
                self._refuse(fd)
            if fd > self._highest_fd:
                self._pause(f"{fd} descriptors in use")
                return 0
        return BATCH

    def _survives(self, error: OSError) -> bool:
        """True if the next accept may succeed: the others are errors of one connection (accept(2))."""
        if error.errno in _EXHAUSTED:
            self._pause(os.strerror(error.errno or 0))
            return False
        if error.errno in _GONE:
            self._unlisten("broken")
            _log.error("the listening socket %s is gone: %s", self._fd, error)
            return False
        return True

    def _pause(self, why: str) -> None:
        if self.state == "stopped":
            return
        if self.state != "paused":
            self._events.accept_paused()
            _log.warning("accepting is paused: %s; raise the limit of open files or lower limits.connections", why)
        self._unlisten("paused")
        self._timer = self._loop.call_later(PAUSE_S, self._look)

    def _look(self) -> None:
        """Go on if a descriptor below the reserve is free, else look again later."""
        try:
            free = os.dup(self._fd)
        except OSError:
            free = self._highest_fd + 1
        else:
            os.close(free)
        if free <= self._highest_fd:
            self._listen()
        else:
            self._timer = self._loop.call_later(PAUSE_S, self._look)

    def _connect(self, fd: int) -> None:
        if self._proxy_protocol:
            task = self._loop.create_task(self._behind_proxy(fd))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)
        else:
            self._begin(fd, self._make_protocol)

    def _begin(self, fd: int, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        """Run `connect_accepted_socket` without a task: it waits once, for `connection_made` or the handshake."""
        accepted: Any = _Accepted(fd, self._family)
        coroutine: Any
        if self._tls is None:
            coroutine = self._loop.connect_accepted_socket(make_protocol, accepted)
        else:
            coroutine = self._loop.connect_accepted_socket(
                make_protocol,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        try:
            waiter = coroutine.send(None)
        except Exception:
            os.close(fd)
            _log.exception("a connection could not be set up")
            return
        if self._tls is not None:
            self._pending.add(waiter)
        waiter.add_done_callback(partial(self._made, coroutine))

    def _made(self, coroutine: Generator[Any, None, Any], waiter: "asyncio.Future[Any]") -> None:
        self._pending.discard(waiter)
        try:
            coroutine.send(None)
        except (StopIteration, asyncio.CancelledError):
            pass
        except OSError as error:
            self._events.handshake_failed(handshake_error(error))
        except Exception:
            _log.exception("a connection could not be set up")

    async def _behind_proxy(self, fd: int) -> None:
        try:
            peer = await read_header(self._loop, fd, self._handshake_s)
        except (OSError, ValueError) as error:
            os.close(fd)
            self._events.rejected("proxy_protocol")
            _log.debug("no PROXY header: %s", error)
        except BaseException:
            os.close(fd)
            raise
        else:
            self._begin(fd, partial(self._make_protocol, peer))

    def _refuse(self, fd: int) -> None:
        self._events.rejected("connection_limit")
        with socket.socket(self._family, socket.SOCK_STREAM, fileno=fd) as sock:
            sock.setblocking(False)
            try:
                if self._refusal and self._tls is None:
                    sock.send(self._refusal())
                    sock.shutdown(socket.SHUT_WR)
                    sock.recv(65536)  # unread bytes would turn the close into a reset
            except OSError:
                pass  # it left already

    def close(self) -> None:
        """Stop without taking what is queued, and give up the handshakes under way."""
        self._unlisten("stopped")
        for pending in list(self._pending):
            pending.cancel()

    def __repr__(self) -> str:
        return f"<Acceptor fd={self._fd} {self.state} handshaking={self.handshaking}>"
