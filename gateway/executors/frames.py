"""Messages between a worker and the processes of its executors: a length of eight bytes, then that many bytes."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

_PREFIX_BYTES: Final = 8
_CHUNK_BYTES: Final = 1024 * 1024

Step = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function (pickled by its name) and its arguments."""
Steps = Callable[[], list[Step]]
"""Asked at each start of a process. Those that are equal make equal processes."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message: how the process becomes what its executor needs."""

    path: list[str]
    """`sys.path`, so that the same modules are found."""
    niceness: int
    """Added to that of the worker."""
    steps: bytes
    """Pickled list of Step, run in order; they are read once the path is set."""


class RemoteError(Exception):
    """An error in a process that could not be brought over as what it is."""


class RemoteTraceback(Exception):
    """The traceback of an error in a process, as text: the `__cause__` of the error here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


def send_frame(sock: socket.socket, data: bytes) -> None:
    """Blocks until all is written. Raises OSError."""
    sock.sendall(len(data).to_bytes(_PREFIX_BYTES))
    sock.sendall(data)


def receive_frame(sock: socket.socket) -> bytes:
    """Blocks until a message is whole. Raises EOFError where the other side has ended, OSError."""
    return _receive(sock, int.from_bytes(_receive(sock, _PREFIX_BYTES)))


def _receive(sock: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = sock.recv(min(size, _CHUNK_BYTES))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
