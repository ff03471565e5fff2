"""A whole data plane on byte wires: real connections, real pipeline; no sockets, and time moves by hand.

The test plays the clients and the upstreams. `await wired.settle()` lets everything that is due happen.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from gateway.config.settings import GatewaySettings
from gateway.core.address import Address
from gateway.core.exchange import Exchange
from gateway.decide.route.match import parse_match
from gateway.observe.registry import Registry
from gateway.pipeline.settings import ForwardSettings, RespondSettings, RouteSettings
from gateway.runtime.assemble import assemble
from gateway.runtime.generation import Generation
from gateway.transport.settings import ListenSettings
from gateway.upstreams.settings import TargetSettings, UpstreamSettings

QUIET_TURNS = 6
"""Turns of the loop without a write or a callback after which nothing is due any more: a dial takes three."""


class ByteWire(asyncio.Transport):
    """A transport whose other end is the test.

    What the gateway writes arrives in `received` at once, or with `blocked` only what the test takes.
    """

    def __init__(self, loop: "_Loop", protocol: asyncio.Protocol, peer: tuple[str, int]) -> None:
        super().__init__({"peername": peer})
        self._loop = loop
        self._protocol = protocol
        self._unread: list[bytes] = []
        self._buffer = bytearray()
        self._high, self._low = 64 * 1024, 16 * 1024
        self._writing_paused = False
        self._lost = False
        self.received = bytearray()
        self.blocked = False
        self.on_write: Callable[[bytes], None] | None = None
        self.paused = self.ended = self.closing = self.aborted = self.lost = False
        """Reading is paused; the gateway ended its side; it closed in order; it cut; connection_lost was called."""

    # --- the gateway's side -------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        if self.closing or self.aborted:
            return
        assert not self.ended, "written after write_eof"
        if self.blocked or self._buffer:
            self._buffer += data
            self._maybe_pause_writing()
        else:
            self._arrive(bytes(data))

    def _maybe_pause_writing(self) -> None:
        if len(self._buffer) > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def _arrive(self, data: bytes) -> None:
        self.received += data
        if self.on_write is not None:
            self.on_write(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        if not (self.closing or self.aborted):
            self.closing = True
            if not self._buffer:
                self._lose_soon(None)

    def abort(self) -> None:
        self.aborted = True
        self._buffer.clear()
        self._lose_soon(None)

    def is_closing(self) -> bool:
        return self.closing or self.aborted

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        if self._unread:
            self._loop.call_soon(self._deliver)

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low
        self._maybe_pause_writing()

    def _lose_soon(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        self.lost = True
        self._protocol.connection_lost(error)

    # --- the test's side ----------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Bytes for the gateway; kept while it has paused reading."""
        if self.paused:
            self._unread.append(data)
        elif not (self.closing or self.aborted or self._lost):
            self._protocol.data_received(data)

    def _deliver(self) -> None:
        while self._unread and not self.paused:
            self.send(self._unread.pop(0))

    def send_eof(self) -> None:
        """End the test's side; the gateway closes unless it wants to keep its own open."""
        if not self._lost and not self._protocol.eof_received():
            self.close()

    def reset(self) -> None:
        """End both sides at once, as a RST does."""
        self._buffer.clear()
        self._lose_soon(ConnectionResetError())

    def take(self, size: int) -> None:
        """Read `size` bytes of what is held back."""
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._arrive(taken)
        if self._writing_paused and len(self._buffer) <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()
        if self.closing and not self._buffer:
            self._lose_soon(None)

    def unblock(self) -> None:
        """Read all that is held back, and from now on at once."""
        self.blocked = False
        self.take(len(self._buffer))

    @property
    def unread(self) -> int:
        """Bytes that wait because the gateway paused reading."""
        return sum(map(len, self._unread))

    @property
    def is_open(self) -> bool:
        return not (self.closing or self.aborted or self._lost)

    def clear(self) -> bytes:
        """What arrived so far, forgetting it."""
        taken = bytes(self.received)
        self.received.clear()
        return taken


class _Timer:
    """A callback at a time of the manual clock."""

    def __init__(self, when: float, callback: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.when = when
        self.callback = callback
        self.arguments = arguments
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class _Loop:
    """The part of a loop that the data plane uses, with byte wires for sockets."""

    def __init__(self, wired: "Wired") -> None:
        self._wired = wired
        self._loop = asyncio.get_running_loop()
        self.create_task = self._loop.create_task
        self.create_future = self._loop.create_future
        self.time = self._loop.time
        self.calls = 0
        """Callbacks that were scheduled so far."""
        self.timers: list[_Timer] = []

    def call_soon(self, callback: Callable[..., Any], *arguments: Any) -> asyncio.Handle:
        self.calls += 1
        return self._loop.call_soon(callback, *arguments)

    def call_later(self, delay: float, callback: Callable[..., Any], *arguments: Any) -> "_Timer":
        timer = _Timer(self._wired.now + delay, callback, arguments)
        self.timers.append(timer)
        return timer

    def fire(self) -> None:
        """Call what is due."""
        due = [timer for timer in self.timers if timer.when <= self._wired.now]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            if not timer.cancelled:
                timer.callback(*timer.arguments)

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        if not self._wired.addresses:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in self._wired.addresses
        ]

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int, **_: Any
    ) -> tuple[ByteWire, asyncio.Protocol]:
        wired = self._wired
        await wired.dial_gate.wait()
        if wired.refused or wired.refuses(host):
            raise ConnectionRefusedError(111, "Connection refused")
        protocol = factory()
        wire = ByteWire(self, protocol, (host, port))
        protocol.connection_made(wire)
        wired.upstreams.append(wire)
        wired.on_upstream(wire)
        return wire, protocol


class Wired:
    """One worker's data plane."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.now = 1000.0
        self.log: list[Exchange] = []
        self.upstreams: list[ByteWire] = []
        """Connections that the gateway opened, in order."""
        self.on_upstream: Callable[[ByteWire], None] = lambda wire: None
        self.refused = False
        self.refuses: Callable[[str], bool] = lambda host: False
        self.addresses: list[str] = []
        """What DNS answers for every name; none: it is dead."""
        self.dial_gate = asyncio.Event()
        """Cleared: no connection to an upstream comes about."""
        self.dial_gate.set()
        self.registry = Registry()
        self._loop: Any = _Loop(self)
        self.gateway = assemble(settings, self.registry, self._loop, log=self.log.append, clock=lambda: self.now)

    def client(self, peer: str = "127.0.0.1", listener: int = 0) -> ByteWire:
        """A new connection of a client."""
        protocol = self.gateway.connection(listener)
        wire = ByteWire(self._loop, protocol, (peer, 40000))
        protocol.connection_made(wire)
        return wire

    async def prepare(self, settings: GatewaySettings) -> Generation:
        """What would serve by `settings`, built and started."""
        generation = self.gateway.next()
        generation.build(settings)
        await generation.start()
        return generation

    async def reload(self, settings: GatewaySettings) -> None:
        """Serve by `settings` from now on."""
        self.gateway.use(await self.prepare(settings))
        await self.settle()

    def fire(self) -> None:
        """Call the timers that are due."""
        self._loop.fire()

    async def settle(self) -> None:
        """Let everything happen that is due."""
        quiet = 0
        while quiet < QUIET_TURNS:
            calls = self._loop.calls
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._loop.calls == calls else 0

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, ticking as a worker does."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.05, end)
            self._loop.fire()
            self.gateway.tick(self.now)
            await asyncio.sleep(0)
        self.now += 0.1  # a deadline fires up to a slot late
        self.gateway.tick(self.now)
        await self.settle()

    @property
    def timers(self) -> int:
        """Timers that still run."""
        return sum(not each.cancelled for each in self._loop.timers)

    def connections(self, upstream: str = "u", target: int = 0) -> Any:
        """The connections to a target."""
        return self.gateway.upstreams[upstream].targets[target].connections


def proxy(**options: Any) -> GatewaySettings:
    """Everything goes to the upstream `u`, but GET /ping is answered with pong.

    `route` and `upstream` are mappings of further settings; others are of GatewaySettings.
    """
    route: dict[str, Any] = options.pop("route", {})
    upstream: dict[str, Any] = options.pop("upstream", {})
    targets = upstream.pop("targets", (TargetSettings("10.0.0.1", 80),))
    answer = route.pop("answer", ForwardSettings((("u", 1),)))
    pong = RespondSettings(body=b"pong", headers=(("content-type", "text/plain"),))
    return GatewaySettings(
        listen=(ListenSettings(Address("127.0.0.1", 8080)),),
        routes=(
            RouteSettings("all", parse_match("/*"), answer, **route),
            RouteSettings("ping", parse_match("GET /ping"), pong),
        ),
        upstreams=(UpstreamSettings("u", targets, **upstream),),
        **options,
    )
