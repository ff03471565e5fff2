"""A target in a process of its own, that a test can kill -9; `python -m tests.support.target HOST PORT` serves."""

import asyncio
import subprocess
import sys
from types import TracebackType
from typing import Self

ANSWER_S = 0.005
"""Each answer takes so long, so that something is always in flight."""


class Target:
    """The process; use it in a `with`. It answers each request after ANSWER_S with 200."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.host = host
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.target", host, str(port)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(ANSWER_S)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except (EOFError, ConnectionError):
        writer.close()


async def _serve(host: str, port: int) -> None:
    server = await asyncio.start_server(answer, host, port, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
