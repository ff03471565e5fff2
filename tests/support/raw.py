"""A client that sends bytes as they are and looks at every byte of the answers."""

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.support.http import Answer, read_answer, read_answers

TIMEOUT_S = 20.0


class Raw:
    """One connection; use it in a `with`. `source` is the address it comes from."""

    def __init__(
        self,
        port: int,
        *,
        source: str = "127.0.0.1",
        receive_buffer: int = 0,
        tls: ssl.SSLContext | None = None,
        server_name: str = "localhost",
    ) -> None:
        self._sock: socket.socket = socket.socket()
        if receive_buffer:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._sock.settimeout(TIMEOUT_S)
        self._sock.bind((source, 0))
        self._sock.connect(("127.0.0.1", port))
        if tls is not None:
            self._sock = tls.wrap_socket(self._sock, server_hostname=server_name)
        self._data = b""
        self.ended = False
        """The other side is closed; `was_reset` if by RST."""
        self.was_reset = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sock.close()

    def send(self, data: bytes) -> Self:
        """Send all of `data`; that the other side has closed is found out by reading."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._sock.sendall(data)
        return self

    def finish(self) -> None:
        """End our side, and go on reading."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def receive(self, size: int = 65536) -> bytes:
        """Some bytes; empty at the end. Raises TimeoutError."""
        try:
            data = self._sock.recv(size)
        except ConnectionResetError:
            self.was_reset = True
            data = b""
        self.ended = not data
        return data

    def answer(self, method: str = "GET") -> Answer:
        """The next answer, whole or as far as it got; interim ones too."""
        while True:
            if self._data:
                answer, rest = read_answer(self._data, method, self.ended)
                if answer.whole or self.ended:
                    self._data = rest
                    return answer
            assert not self.ended, "no answer"
            self._data += self.receive()

    def rest(self) -> bytes:
        """All that comes until the end, with what was read before."""
        while not self.ended:
            self._data += self.receive()
        data, self._data = self._data, b""
        return data

    def pieces(self) -> Iterator[bytes]:
        """All that comes until the end, piece by piece."""
        data, self._data = self._data, b""
        while data or not self.ended:
            yield data
            data = self.receive(1 << 20)

    def until(self, mark: bytes) -> bytes:
        """What comes up to and with `mark`."""
        while mark not in self._data:
            assert not self.ended, self._data
            self._data += self.receive()
        at = self._data.index(mark) + len(mark)
        data, self._data = self._data[:at], self._data[at:]
        return data


def talk(port: int, *pieces: bytes) -> list[Answer]:
    """Send `pieces`, and read all answers until the other side closes."""
    with Raw(port) as raw:
        for piece in pieces:
            raw.send(piece)
        return read_answers(raw.rest(), closed=True)
