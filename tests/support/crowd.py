"""Many connections at once, in a process of their own: `python -m tests.support.crowd PORT COUNT RECEIVE_BUFFER`."""

import json
import resource
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

SOURCES = 20
"""Source addresses, 127.0.0.2 and on: one alone has 28 000 ports, some of them still in TIME_WAIT."""
PATIENCE_S = 20.0


def possible(wanted: int) -> int:
    """So many connections, or what the limits on descriptors leave to the gateway and to the crowd."""
    return min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 1000)


class Crowd:
    """`count` connections that each send `text` and then do nothing; use it in a `with`, which resets what is left."""

    def __init__(self, port: int, count: int, text: bytes = b"", *, receive_buffer: int = 0) -> None:
        arguments = [str(port), str(count), str(receive_buffer)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crowd", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._text = text.decode()
        self.asked_s = self.connected_s = 0.0
        """How long it took to ask for all connections, and until there were all of them."""

    def __enter__(self) -> Self:
        told = self._ask(self._text)
        self.asked_s, self.connected_s = told["asked_s"], told["connected_s"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.communicate('"leave"\n', PATIENCE_S)

    def heads(self) -> tuple[Counter[str], float]:
        """What came first on each connection (`HTTP/1.1 200`), and when the last came (s after all were connected).

        `end` where the other side closed without a word, `late` where nothing came in PATIENCE_S.
        """
        told = self._ask("heads")
        return Counter(told["heads"]), float(told["took_s"])

    def ends(self) -> tuple[int, float]:
        """How many connections the other side has ended, and when the last (s after all were connected).

        To be asked after `heads`; waits for PATIENCE_S.
        """
        told = self._ask("ends")
        return int(told["ended"]), float(told["took_s"])

    def _ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._told()

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))


class _Members:
    def __init__(self, port: int, count: int, receive_buffer: int, text: bytes) -> None:
        self._to, self._receive_buffer = ("127.0.0.1", port), receive_buffer
        self._poll = select.epoll()
        self._count, self._open = count, dict[int, socket.socket]()
        self._heads = dict[int, bytes]()
        self._begun = self._connected = self._last_head = time.monotonic()
        for number in range(count):
            self._connect(f"127.0.0.{number % SOURCES + 2}")
        self._asked = time.monotonic()
        self._connecting = set(self._open)
        self._unsent = {fd: memoryview(text) for fd in self._open}
        self._run(lambda: not self._unsent)

    def connected(self) -> dict[str, float]:
        return {"asked_s": self._asked - self._begun, "connected_s": self._connected - self._begun}

    def heads(self) -> dict[str, Any]:
        self._run(lambda: len(self._heads) == self._count)
        counts = Counter(head.decode() or "end" for head in self._heads.values())
        counts["late"] = self._count - len(self._heads)
        return {"heads": +counts, "took_s": self._last_head - self._connected}

    def ends(self) -> dict[str, Any]:
        for fd in self._open:
            self._poll.register(fd, select.EPOLLIN)
        while self._open and (events := self._poll.poll(PATIENCE_S)):
            for fd, _ in events:
                if not self._received(fd):
                    self._open.pop(fd).close()
        return {"ended": self._count - len(self._open), "took_s": time.monotonic() - self._connected}

    def leave(self) -> None:
        for sock in self._open.values():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

    def _connect(self, source: str) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        if self._receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT (linux/in.h): the port comes with connect
        sock.bind((source, 0))
        sock.connect_ex(self._to)
        self._open[sock.fileno()] = sock
        self._poll.register(sock, select.EPOLLOUT | select.EPOLLIN)

    def _run(self, over: Callable[[], bool]) -> None:
        while not over() and (events := self._poll.poll(PATIENCE_S)):
            for fd, what in events:
                if fd in self._connecting:
                    self._connecting.discard(fd)
                    self._connected = time.monotonic()
                if what == select.EPOLLOUT:
                    self._send(fd)
                else:
                    self._first(fd)

    def _send(self, fd: int) -> None:
        self._unsent[fd] = self._unsent[fd][self._open[fd].send(self._unsent[fd]) :]
        if not self._unsent[fd]:
            del self._unsent[fd]
            self._poll.modify(fd, select.EPOLLIN)

    def _first(self, fd: int) -> None:
        """Take the first bytes, and look no further; what is unsent stays so."""
        self._heads[fd] = self._received(fd)[:12]
        self._last_head = time.monotonic()
        self._unsent.pop(fd, None)
        self._poll.unregister(fd)
        if not self._heads[fd]:
            self._open.pop(fd).close()

    def _received(self, fd: int) -> bytes:
        try:
            return self._open[fd].recv(65536)
        except OSError:
            return b""


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def main() -> None:
    port, count, receive_buffer = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    told = map(json.loads, sys.stdin)
    members = _Members(port, count, receive_buffer, next(told).encode())
    _say(members.connected())
    for what in told:
        if what == "leave":
            members.leave()
            return
        _say(members.heads() if what == "heads" else members.ends())


if __name__ == "__main__":
    main()
