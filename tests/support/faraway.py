"""A target behind a link of its own, that a test can cut, slow down and make lossy.

As root the target has a network namespace of its own, and its process carries the packets between two TUN devices (as
`tc netem` would, which many kernels lack): TCP meets real loss. Elsewhere a relay carries the bytes, and what would be
lost is late by a retransmission; with FARAWAY=relay also as root. `python -m tests.support.faraway` serves.
"""

import asyncio
import ctypes
import fcntl
import json
import os
import random
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.support.target import answer

RETRANSMISSION_S = 0.2
"""Linux' shortest retransmission timeout (TCP_RTO_MIN)."""
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFFLAGS, _IFF_UP = 0x8916, 0x891C, 0x8914, 0x1
_CLONE_NEWNET = 0x40000000


class Faraway:
    """The process; use it in a `with`. The target answers as Target does."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.faraway"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.readline())
        self.address: str = told["address"]
        self.how: str = told["how"]
        """`packets` or `relay`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def become(self, *, cut: bool = False, delay_s: float = 0.0, loss: float = 0.0) -> None:
        """Lose all packets, or each with the probability `loss`; the others take `delay_s` each way."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"cut": cut, "delay_s": delay_s, "loss": loss}) + "\n")
        self._process.stdin.flush()


class _Link:
    """What the link does to what goes over it, as the test said last."""

    def __init__(self) -> None:
        self.delay_s = self.loss = 0.0
        self.up = asyncio.Event()
        self.up.set()
        self._random = random.Random(1)
        asyncio.get_running_loop().add_reader(0, self._told)

    def _told(self) -> None:
        if not (line := sys.stdin.readline()):
            raise SystemExit
        told = json.loads(line)
        self.delay_s, self.loss = told["delay_s"], told["loss"]
        (self.up.clear if told["cut"] else self.up.set)()

    def loses(self) -> bool:
        return self._random.random() < self.loss


# --- packets ---------------------------------------------------------------------------------------------------------


def _namespace() -> tuple[int, int, str]:
    """Both ends of the link, and the address of the far one; this process is in the far namespace then.

    The addresses are of the network for measurements (RFC 2544 appendix C.2.2). Raises OSError.
    """
    number = os.getpid() % (1 << 15) << 2
    near, far = (f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{(number & 255) + n}" for n in (1, 2))
    near_end = _tun(f"near{os.getpid()}", near)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace")
    return near_end, _tun("far", far), far


def _tun(name: str, address: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for request, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, "255.255.255.252")):
            packed = struct.pack("16sHH4s16x", name.encode(), socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(sock, request, packed)
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), _IFF_UP))
    return device


def _carry(link: _Link, source: int, sink: int) -> Callable[[], None]:
    loop = asyncio.get_running_loop()

    def carry() -> None:
        packet = os.read(source, 65536)
        if not link.up.is_set() or link.loses():
            return
        loop.call_later(link.delay_s, os.write, sink, packet)

    return carry


# --- bytes -----------------------------------------------------------------------------------------------------------


async def _relay(link: _Link, port: int) -> int:
    """The port of a relay to `port`."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65536):
                await asyncio.sleep(link.delay_s + (RETRANSMISSION_S if link.loses() else 0.0))
                await link.up.wait()
                writer.write(piece)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await link.up.wait()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, backlog=1024)
    return int(server.sockets[0].getsockname()[1])


async def _serve() -> None:
    link, loop = _Link(), asyncio.get_running_loop()
    try:
        if os.environ.get("FARAWAY") == "relay":
            raise OSError
        near_end, far_end, host = _namespace()
    except OSError:
        how, host = "relay", "127.0.0.1"
    else:
        how = "packets"
        loop.add_reader(near_end, _carry(link, near_end, far_end))
        loop.add_reader(far_end, _carry(link, far_end, near_end))
    server = await asyncio.start_server(answer, host, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    if how == "relay":
        port = await _relay(link, port)
    sys.stdout.write(json.dumps({"address": f"{host}:{port}", "how": how}) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
