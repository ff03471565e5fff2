"""The clients of tests/bench/overload: an open loop, each request on a connection of its own or on one that is idle.

    python overload_clients.py PORT RATE SECONDS ANSWERS_FILE

Requests begin when they are due, whatever became of those before, and their time is counted from that moment, so no
stall of the gateway or of this program is left out (coordinated omission; Tene, "How NOT to measure latency", 2015).
Who has no answer after 3 s leaves. One request in ten is `POST /orders`.
"""

import asyncio
import gc
import json
import sys
import time
from collections import deque
from typing import Final, cast

import uvloop

PATIENCE_S: Final = 3.0
ORDER_EVERY: Final = 10
CONNECTIONS: Final = 512
"""Open before the first request; more are opened as they are needed."""
LEFT, BROKEN = 0, -1
"""In place of a status: the client left, or its connection was closed or refused."""
_BODY = b'{"item": "lamp", "count": 1, "card": "4111-xxxx-xxxx-1111", "note": "x"}'


class Client(asyncio.Protocol):
    """One connection; `due` is the moment of the request under way, or nothing."""

    __slots__ = ("_data", "_load", "due", "is_order", "transport")

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._data = b""
        self.transport: asyncio.Transport | None = None
        self.due: float | None = None
        self.is_order = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.due is None:
            self._load.idle.append(self)
        else:
            self._load.send(self)

    def data_received(self, data: bytes) -> None:
        if self._data:
            data = self._data + data
        head, end, body = data.partition(b"\r\n\r\n")
        fields = head.lower() if end else b""
        if not end or len(body) < int(fields.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0):
            self._data = data
            return
        self._data = b""
        closes = b"\r\nconnection: close" in fields
        self._load.ended(self, int(head[9:12]))
        if closes:
            assert self.transport is not None
            self.transport.close()
        else:
            self._load.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.due is not None:
            self._load.ended(self, BROKEN)

    def leave(self) -> None:
        self._load.ended(self, LEFT)
        if self.transport is not None:
            self.transport.abort()


class Load:
    """All requests of one run."""

    def __init__(self, port: int, rate: float, seconds: float) -> None:
        self._port = port
        self._rate = rate
        self._count = round(rate * seconds)
        host = f"Host: 127.0.0.1:{port}\r\nUser-Agent: overload\r\nAccept: */*\r\n".encode()
        self._get = b"GET /item HTTP/1.1\r\n%b\r\n" % host
        self._order = b"POST /orders HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (host, len(_BODY), _BODY)
        self.idle: list[Client] = []
        self._under_way: deque[tuple[float, Client]] = deque()
        self._dialling: set[asyncio.Task[None]] = set()
        self._began = 0.0
        self.answers: list[tuple[float, float, int, bool]] = []
        """Of each request: due (s after the begin), duration (s), status, whether it is an order."""
        self.late: list[float] = []
        """How long after it was due each was begun (s)."""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            await loop.create_connection(lambda: Client(self), "127.0.0.1", self._port)
        gc.collect()
        gc.freeze()
        gc.disable()
        self._began = time.monotonic() + 0.2
        while len(self.answers) < self._count:
            await asyncio.sleep(0.001)
            self._turn(time.monotonic())

    def _turn(self, now: float) -> None:
        """Begin what is due, and have those leave who waited too long."""
        while len(self.late) < self._count and (due := self._began + len(self.late) / self._rate) <= now:
            client = self._client()
            client.due, client.is_order = due, len(self.late) % ORDER_EVERY == 0
            self.late.append(now - due)
            self._under_way.append((due, client))
            if client.transport is not None:
                self.send(client)
        while self._under_way and now - self._under_way[0][0] > PATIENCE_S:
            due, client = self._under_way.popleft()
            if client.due == due:
                client.leave()

    def _client(self) -> Client:
        while self.idle:
            client = self.idle.pop()
            if client.transport is not None and not client.transport.is_closing():
                return client
        client = Client(self)
        task = asyncio.get_running_loop().create_task(self._dial(client))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)
        return client

    async def _dial(self, client: Client) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", self._port)
        except OSError:
            if client.due is not None:
                self.ended(client, BROKEN)

    def send(self, client: Client) -> None:
        assert client.transport is not None
        client.transport.write(self._order if client.is_order else self._get)

    def ended(self, client: Client, status: int) -> None:
        due, client.due = client.due, None
        if due is not None:
            self.answers.append((due - self._began, time.monotonic() - due, status, client.is_order))


def main() -> None:
    port, rate, seconds, path = sys.argv[1:]
    load = Load(int(port), float(rate), float(seconds))
    uvloop.run(load.run())
    with open(path, "w") as out:
        json.dump({"answers": load.answers, "late": load.late}, out)


if __name__ == "__main__":
    main()
