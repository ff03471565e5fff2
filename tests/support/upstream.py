"""A scripted raw upstream: records what arrives byte for byte and answers what the script says."""

import asyncio
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType
from typing import Self

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it arrived: `head` ends with the empty line, `body` is raw (chunk lines included)."""

    head: bytes
    body: bytes
    connection: int

    @property
    def line(self) -> bytes:
        """The request line."""
        return self.head.split(b"\r\n", 1)[0]

    def fields(self, name: str) -> list[str]:
        """The values of every field of that name, in order."""
        wanted = name.lower().encode() + b":"
        lines = self.head.split(b"\r\n")[1:]
        return [line[len(wanted) :].strip().decode("latin-1") for line in lines if line.lower().startswith(wanted)]


class Wire:
    """One accepted connection, for a script."""

    def __init__(self, upstream: "Upstream", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._upstream = upstream
        self.reader = reader
        self.writer = writer
        upstream.connections += 1
        self.number = upstream.connections
        """1 for the first connection that was accepted."""

    async def head(self) -> bytes:
        """The next request head, with its empty line. Raises EOFError at the end of the connection."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> Recorded:
        """The next request with its whole body, recorded. Raises EOFError at the end of the connection."""
        head = await self.head()
        recorded = Recorded(head, await self._body(head), self.number)
        self._upstream.requests.append(recorded)
        return recorded

    async def _body(self, head: bytes) -> bytes:
        fields = Recorded(head, b"", 0)
        if fields.fields("transfer-encoding"):
            return await self._chunked()
        length = fields.fields("content-length")
        return await self.reader.readexactly(int(length[0])) if length else b""

    async def _chunked(self) -> bytes:
        raw = b""
        while True:
            line = await self.reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            raw += line
            if size == 0:
                while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
                    raw += line
                return raw + line
            raw += await self.reader.readexactly(size + 2)

    async def send(self, data: bytes) -> None:
        """Write and wait until the system took it."""
        self.writer.write(data)
        await self.writer.drain()

    async def eof(self) -> None:
        """Return when the other side has closed."""
        while await self.reader.read(65536):
            pass

    def close(self) -> None:
        """End with FIN."""
        self.writer.close()

    def reset(self) -> None:
        """End with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Wire], Awaitable[None]]


def answering(answer: bytes | Callable[[Recorded], bytes] = OK) -> Script:
    """A script that gives every request the same answer, or what a function makes of it."""

    async def script(wire: Wire) -> None:
        while True:
            recorded = await wire.request()
            await wire.send(answer if isinstance(answer, bytes) else answer(recorded))

    return script


def in_turn(*answers: bytes) -> Script:
    """A script whose connection answers one of `answers` a request, in order, and then closes."""

    async def script(wire: Wire) -> None:
        for answer in answers:
            await wire.request()
            await wire.send(answer)

    return script


class Upstream:
    """Serves `script` once for every connection, on a loop in a thread; use it in a `with`.

    The connection is closed when its script returns. A script that raises fails the `with` at its end;
    that the other side closed is no failure.
    """

    def __init__(self, script: Script | bytes = OK, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._script = answering(script) if isinstance(script, bytes) else script
        self._tls = tls
        self._wanted = port
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._stop = asyncio.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="upstream", daemon=True)
        self.requests: list[Recorded] = []
        """Whole requests, in the order in which they ended."""
        self.connections = 0
        """Accepted so far."""
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.address}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10), "the upstream did not start"
        if self._failures:
            raise self._failures[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        if self._failures and error is None:
            raise self._failures[0]

    def run(self, function: Callable[[], None]) -> None:
        """Call `function` on the upstream's loop (to set an asyncio.Event that a script waits for)."""
        self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._failures.append(error)
            self._listening.set()
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        tasks: set[asyncio.Task[None]] = set()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._one(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accepted, "127.0.0.1", self._wanted, ssl=self._tls, limit=1 << 26)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._script(Wire(self, reader, writer))
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:
            self._failures.append(error)
        finally:
            writer.close()
