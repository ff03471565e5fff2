"""A target in a process of its own, that a test can kill -9; `python -m tests.support.target` serves."""

import asyncio
import subprocess
import sys
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Self

ANSWER_S = 0.005
"""Each answer takes so long, so that something is always in flight."""

Places = AbstractAsyncContextManager[None]
ALL: Places = nullcontext()


class Target:
    """The process; use it in a `with`. It answers each request after ANSWER_S with 200; `places` at a time, 0: all."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1", places: int = 0) -> None:
        self.host = host
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.target", host, str(port), str(places)],
            stdout=subprocess.PIPE,
            text=True,
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


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, places: Places = ALL) -> None:
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            async with places:
                await asyncio.sleep(ANSWER_S)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except (EOFError, ConnectionError):
        writer.close()


async def _serve(host: str, port: int, places: int) -> None:
    answers = partial(answer, places=asyncio.Semaphore(places) if places else ALL)
    server = await asyncio.start_server(answers, host, port, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
