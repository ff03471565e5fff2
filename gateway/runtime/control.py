"""What supervisor and worker say to each other: small values over a socket pair that keeps message borders.

The end of the stream is a message too: the other process is gone.
"""

import os
import pickle
import socket
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Self

from gateway.config.settings import GatewaySettings
from gateway.pipeline.settings import RouteSettings

MESSAGE_BYTES = 64 * 1024
ROUTES_AT_ONCE = 16
"""Reading so many takes 0.2 ms; at the end of reading 10 000 at once, every other thread stands still for 16 ms."""
MAX_DESCRIPTORS = 253
"""That one message may carry (unix(7), SCM_RIGHTS)."""


@dataclass(frozen=True, slots=True)
class Start:
    """The first message to a worker; `settings`, `memory` and `sockets` are descriptors it inherited.

    `layout`: of what the descriptors hold (`layout.py`); the first field in every version. `slots`: how many workers
    there are. `sockets`: in the order of `listen`.
    """

    layout: str
    slot: int
    slots: int
    settings: int
    memory: int
    sockets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no more connections, finish what is under way within `seconds`, end."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reopen:
    """Open the log files again."""


@dataclass(frozen=True, slots=True)
class MarkTargets:
    """What checks and an operator say of targets: upstream, address, whether it passes its checks, drained."""

    marks: tuple[tuple[str, str, bool, bool], ...]


@dataclass(frozen=True, slots=True)
class Prepare:
    """Build the config that the descriptor `settings` holds, aside. `sockets`: in the order of its `listen`.

    The descriptors travel with the message; -1 and none where the receiver had too many open to take them.
    """

    number: int
    settings: int = -1
    sockets: tuple[int, ...] = ()

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self.settings, *self.sockets)


@dataclass(frozen=True, slots=True)
class Use:
    """Serve by what was built, as soon as it is."""

    number: int


@dataclass(frozen=True, slots=True)
class Forget:
    """What was built is not used."""

    number: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """From a worker: it is built."""

    number: int


@dataclass(frozen=True, slots=True)
class Refused:
    """From a worker: it cannot be built, and why; the old config holds."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Used:
    """From a worker: it serves by it."""

    number: int


@dataclass(frozen=True, slots=True)
class Ready:
    """From a worker: it serves."""


@dataclass(frozen=True, slots=True)
class Failed:
    """From a worker: it cannot serve, and why; it ends next."""

    text: str


Message = Start | Drain | Reopen | MarkTargets | Ready | Failed | Prepare | Use | Forget | Prepared | Refused | Used


class Control:
    """One end of the conversation."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @classmethod
    def pair(cls) -> tuple[Self, socket.socket]:
        """Our end, and the socket to hand to the other process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        return cls(ours), theirs

    def fileno(self) -> int:
        return self._sock.fileno()

    def setblocking(self, blocking: bool) -> None:
        self._sock.setblocking(blocking)

    def send(self, message: Message) -> bool:
        """False if the other side is gone (or has not read for a very long time)."""
        try:
            socket.send_fds(
                self._sock, [pickle.dumps(message)], message.descriptors if isinstance(message, Prepare) else ()
            )
        except OSError:
            return False
        return True

    def receive(self) -> Message | None:
        """The next message; None at the end. Raises BlockingIOError when there is none yet."""
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._sock, MESSAGE_BYTES, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError:
            return None
        if not data:
            return None
        message: Message = pickle.loads(data)
        return _received(message, descriptors) if isinstance(message, Prepare) else message

    def close(self) -> None:
        self._sock.close()


def _received(message: Prepare, descriptors: list[int]) -> Prepare:
    """With the numbers that its descriptors have here."""
    if len(descriptors) == len(message.descriptors):
        return replace(message, settings=descriptors[0], sockets=tuple(descriptors[1:]))
    for each in descriptors:
        os.close(each)
    return Prepare(message.number)


def store_settings(settings: GatewaySettings) -> int:
    """A memory file (its descriptor, close-on-exec) that holds `settings`, for any number of workers to read."""
    fd = os.memfd_create("gateway-settings", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            pickle.dump(replace(settings.for_workers(), routes=()), file, pickle.HIGHEST_PROTOCOL)
            for start in range(0, len(settings.routes), ROUTES_AT_ONCE):
                pickle.dump(settings.routes[start : start + ROUTES_AT_ONCE], file, pickle.HIGHEST_PROTOCOL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def fetch_settings(fd: int) -> GatewaySettings:
    """What `store_settings` stored. The file's position is shared, so it is not used."""
    stored = BytesIO(os.pread(fd, os.fstat(fd).st_size, 0))
    settings: GatewaySettings = pickle.load(stored)
    routes: list[RouteSettings] = []
    while stored.tell() < len(stored.getbuffer()):
        routes += pickle.load(stored)
    return replace(settings, routes=tuple(routes))
