"""Messages between a worker and the processes of its executors: a length of eight bytes, then that many bytes."""

import socket
from typing import Final

_PREFIX_BYTES: Final = 8
_CHUNK_BYTES: Final = 1024 * 1024


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
