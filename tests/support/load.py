"""A steady load: so many requests a second, each outcome counted."""

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.wait import until

ANSWER_S = 10.0
AT_ONCE = 64
"""Beyond so many in flight, requests wait in the client: a slow machine must not become a storm."""


@dataclass(slots=True)
class Outcomes:
    """What became of the requests: by status (`200`), or by what went wrong (`reset`, `late`, ...)."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Of the answers with `X-Gateway-Reason`."""
    last_bad: float = 0.0
    """Monotonic time of the last one that was no 200."""
    latencies_s: list[float] = field(default_factory=list)
    """Of all, in the order in which they ended."""

    @property
    def slowest_s(self) -> float:
        return max(self.latencies_s)

    @property
    def p99_s(self) -> float:
        return sorted(self.latencies_s)[len(self.latencies_s) * 99 // 100]

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def failed(self) -> int:
        """All that were no 200."""
        return self.total - self.counts["200"]


class _Idle:
    """Connections between two requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def take(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bool]:
        """A connection, and whether it served before."""
        while self._streams:
            reader, writer = self._streams.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer, True
            writer.close()
        return *await asyncio.open_connection("127.0.0.1", self._port), False

    def give(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._streams.append((reader, writer))

    def close(self) -> None:
        for _, writer in self._streams:
            writer.close()


class Load:
    """`rate` requests a second for `path` while the `with` lasts, open-loop, on a loop in a thread.

    Connections are kept, unless `fresh`. A request whose kept connection ends without a byte of an answer goes out
    once more (RFC 9110 9.2.2), as every client does.
    """

    def __init__(
        self, port: int, *, rate: float = 550.0, method: str = "GET", path: str = "/", fresh: bool = False
    ) -> None:
        fields = "Host: a\r\n" + ("Connection: close\r\n" if fresh else "")
        self._request = f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode()
        self._rate = rate
        self._begun = self._ended = 0.0
        self._idle = _Idle(port)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)
        self.outcomes = Outcomes()
        self.in_flight = 0

    def __enter__(self) -> Self:
        self._begun = time.monotonic()
        self._thread.start()
        self.go_on(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._ended = time.monotonic()
        self._thread.join(ANSWER_S + 5)

    @property
    def rate(self) -> float:
        """Requests that were answered, a second."""
        return self.outcomes.total / ((self._ended or time.monotonic()) - self._begun)

    def go_on(self, requests: int, timeout: float = 15.0) -> None:
        """Return when `requests` more were answered."""
        enough = self.outcomes.total + requests
        until(lambda: self.outcomes.total >= enough, timeout, f"the load went on: {self.outcomes}")

    async def _run(self) -> None:
        tasks: set[asyncio.Task[None]] = set()
        room = asyncio.Semaphore(AT_ONCE)
        begun, sent = time.monotonic(), 0
        while not self._stopping.is_set():
            while sent < (time.monotonic() - begun) * self._rate:
                tasks.add(task := asyncio.create_task(self._one(room)))
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(0.004)
        await asyncio.gather(*tasks)
        self._idle.close()

    async def _one(self, room: asyncio.Semaphore) -> None:
        async with room:
            begun = time.monotonic()
            self.in_flight += 1
            outcome = await self._outcome()
            self.in_flight -= 1
        now = time.monotonic()
        self.outcomes.counts[outcome] += 1
        self.outcomes.latencies_s.append(now - begun)
        if outcome != "200":
            self.outcomes.last_bad = now

    async def _outcome(self) -> str:
        try:
            async with asyncio.timeout(ANSWER_S):
                while (outcome := await self._attempt()) is None:
                    pass
                return outcome
        except TimeoutError:
            return "late"
        except OSError as error:
            return type(error).__name__

    async def _attempt(self) -> str | None:
        """The status, or what went wrong; None where a kept connection ended and the request may go out again."""
        reader, writer, kept = await self._idle.take()
        head = b""
        try:
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            fields = _fields(head)
            await reader.readexactly(int(fields.get("content-length", "0")))
        except (EOFError, ConnectionError) as error:
            writer.close()
            partial = head or (error.partial if isinstance(error, asyncio.IncompleteReadError) else b"")
            return None if kept and not partial else "truncated" if partial else "reset"
        if reason := fields.get("x-gateway-reason"):
            self.outcomes.reasons[reason] += 1
        if fields.get("connection") == "close":
            writer.close()
        else:
            self._idle.give(reader, writer)
        return head[9:12].decode()


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
