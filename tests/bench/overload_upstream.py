"""The upstream of tests/bench/overload: so many requests at a time, so long each, and an unbounded FIFO behind.

    python overload_upstream.py PORT [SLOTS [WORK_MS]]

What it can do is exact: a slot that frees at a moment begins the next request at that moment, even where the process
wakes later. It does not see who left: what was once sent is worked through. `GET /capacity/SLOTS/WORK_MS` changes it.
"""

import contextlib
import heapq
import os
import select
import socket
import sys
import time
from collections import deque

_BODY = b'{"id":42,"symbol":"ACME","price":101.25,"quantity":7,"state":"open"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
CAPACITY = b"GET /capacity/"


class Connection:
    """One request at a time; `data` is what came of it."""

    __slots__ = ("data", "open", "socket")

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        self.data = b""
        self.open = True

    def take(self) -> bytes:
        """The request, when it is whole."""
        if self.data.startswith(b"GET ") and self.data.endswith(b"\r\n\r\n"):
            head, self.data = self.data, b""
            return head
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end:
            return b""
        length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length or 0):
            return b""
        self.data = b""
        return head


class Upstream:
    """Times are seconds on the monotonic clock."""

    def __init__(self, port: int, slots: int, work_s: float) -> None:
        self._slots = slots
        self._work_s = work_s
        self._waiting: deque[tuple[float, Connection]] = deque()
        self._working: list[tuple[float, int, Connection]] = []
        self._number = 0
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listener.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}

    def run(self) -> None:
        listener = self._listener.fileno()
        while True:
            left_s = self._working[0][0] - time.monotonic() if self._working else 1.0
            if left_s > 0.0:  # select, since epoll counts in milliseconds
                select.select([self._poll.fileno()], [], [], left_s)
            now = time.monotonic()  # for all that is there: an upstream of twenty threads would take it at once
            self._end(now)
            for descriptor, _ in self._poll.poll(0):
                if descriptor == listener:
                    self._accept()
                else:
                    self._read(self._connections[descriptor], now)

    def _accept(self) -> None:
        while True:
            try:
                made, _ = self._listener.accept()
            except BlockingIOError:
                return
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[made.fileno()] = Connection(made)
            self._poll.register(made, select.EPOLLIN)

    def _read(self, connection: Connection, now: float) -> None:
        try:
            data = connection.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            connection.open = False
            del self._connections[connection.socket.fileno()]
            connection.socket.close()
            return
        connection.data += data
        head = connection.take()
        if head.startswith(CAPACITY):
            slots, work_ms = head[len(CAPACITY) :].split(b" ")[0].split(b"/")
            self._slots, self._work_s = int(slots), float(work_ms) / 1000
            connection.socket.send(ANSWER)
        elif head:
            self._waiting.append((now, connection))
            self._begin(now)

    def _begin(self, now: float) -> None:
        while self._waiting and len(self._working) < self._slots:
            came, connection = self._waiting.popleft()
            self._number += 1
            heapq.heappush(self._working, (max(now, came) + self._work_s, self._number, connection))

    def _end(self, now: float) -> None:
        while self._working and self._working[0][0] <= now:
            ended, _, connection = heapq.heappop(self._working)
            if connection.open:
                try:
                    connection.socket.send(ANSWER)
                except OSError:
                    connection.open = False
            self._begin(ended)


if __name__ == "__main__":
    with contextlib.suppress(PermissionError):  # the clients on the same core must not delay it: it is elsewhere
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    Upstream(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000).run()
