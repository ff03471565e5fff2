"""How a client takes its answers: read-ahead, slow readers, and the one deadline of its connection."""

import sys
from abc import abstractmethod
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Final

from gateway.transport.listener import Listener
from gateway.transport.outgoing import Outgoing
from gateway.transport.sink import Sink

ONE_READ: Final = 256 * 1024
"""Bytes that come on top of what waits already: uvloop reads up to 256 000 at a time."""


class PacedConnection(Outgoing):
    """A client connection as far as its pace goes. Who inherits sets the attributes without underscore."""

    __slots__ = ("_held", "_read_ahead", "_stalled_at", "armed", "deadline", "listener", "sink")

    listener: Listener
    sink: Sink | None
    deadline: float
    armed: float
    _held: int
    """Bytes counted against `limits.buffered`."""
    _read_ahead: int
    _stalled_at: int
    """Bytes that the client had not taken when it was last seen slow; -1 while it is not."""

    @abstractmethod
    def abort(self, reason: str) -> None: ...

    @abstractmethod
    def on_deadline(self, now: float) -> None: ...

    @abstractmethod
    def go_on(self) -> None:
        """The client takes its answers again."""

    def set_read_ahead(self, size: int) -> None:
        """How far (bytes) an answer may be read ahead of this client; one read is the least."""
        if size != self._read_ahead:
            self._read_ahead = size
            # Not 0: with TLS the transport would take an empty buffer for a full one.
            self.transport.set_write_buffer_limits(high=max(1, size - ONE_READ))

    def pause_writing(self) -> None:
        self._held = self.transport.get_write_buffer_size()
        self._stalled_at = self._untaken()
        buffered = self.listener.buffered
        buffered.add(self._held)
        self._set_deadline(self._now() + (0.0 if buffered.full else self.listener.settings.body_timeout_s))
        if self.sink is not None:
            self.sink.on_client_slow()

    def _release_held(self) -> None:
        if self._held:
            self.listener.buffered.add(-self._held)
            self._held = 0

    def resume_writing(self) -> None:
        self._stalled_at = -1
        self._release_held()
        self.go_on()
        if self.sink is not None:
            self.sink.on_client_ready()

    @property
    def is_slow(self) -> bool:
        """Whether the client has more of its answers to take than may wait for it."""
        return self._stalled_at >= 0

    def _check_progress(self, now: float) -> None:
        """Cut a client that took nothing of its answer since the last look, or for which there is no room."""
        if self.listener.buffered.full:
            self.abort("shed_overload")
            return
        size = self._untaken()
        if size >= self._stalled_at:
            self.abort("client_closed")
            return
        self._stalled_at = size
        self._set_deadline(now + self.listener.settings.body_timeout_s)

    def _untaken(self) -> int:
        """What waits here and in the kernel: its buffer can feed a slow reader for minutes before it asks for more."""
        size = self.transport.get_write_buffer_size()
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            size += int.from_bytes(ioctl(sock.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
        return size

    def _now(self) -> float:
        return self.listener.deadlines.clock()

    def _wait_until(self, deadline: float) -> None:
        """Set the deadline of a state, where not that of a slow reader runs."""
        if self._stalled_at < 0:
            self._set_deadline(deadline)

    def _set_deadline(self, deadline: float) -> None:
        self.deadline = deadline
        if deadline < self.armed:
            self.listener.deadlines.arm(self)
