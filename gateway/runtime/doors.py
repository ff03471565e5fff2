"""A worker's listening sockets, each with the acceptor that takes connections off it."""

import asyncio
import os
import socket
from collections.abc import Sequence
from functools import partial

from gateway.observe.registry import Registry
from gateway.runtime.entrances import Entrance
from gateway.runtime.limits import highest_client_descriptor
from gateway.runtime.refusal import refusal
from gateway.transport.accept import Acceptor, Admission
from gateway.transport.server import ServerConnection
from gateway.transport.tls import read_certificate


class _Door:
    """One of them."""

    def __init__(self, sock: socket.socket, acceptor: Acceptor) -> None:
        self.sock = sock
        self.acceptor = acceptor

    def close(self) -> None:
        """Take what is queued, then no more."""
        self.acceptor.stop()
        self.sock.close()


class Doors:
    """Belongs to the loop thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, registry: Registry, admission: Admission) -> None:
        self._loop = loop
        self._registry = registry
        self._admission = admission
        self._doors: list[_Door] = []
        self._left: list[Acceptor] = []
        """Without a socket, until their last handshake."""
        self._expiries: set[int] = set()
        """Cells of certificates in use."""
        self._open = False
        self._shut = False

    def use(self, entrances: Sequence[Entrance], sockets: Sequence[int]) -> None:
        """Take connections by `entrances` off `sockets`, in the same order, which are ours now; close all others.

        A socket that is open here already may come again under another number.
        """
        if self._shut:
            close_all(sockets)
            return
        before, self._doors = self._doors, []
        for entrance, number in zip(entrances, sockets, strict=True):
            door = next((each for each in before if os.path.sameopenfile(each.sock.fileno(), number)), None)
            if door is None:
                self._doors.append(self._new(entrance, number))
            else:
                os.close(number)
                before.remove(door)
                self._doors.append(door)
                self._serve(door.acceptor, entrance)
        for each in before:
            each.close()
            self._left.append(each.acceptor)
        self._tell_expiries(entrances)

    def open(self) -> None:
        """Begin to accept."""
        self._open = True
        for each in self._doors:
            each.acceptor.start()

    def shut(self) -> None:
        """Take what is queued, then no more; for good."""
        self._shut = True
        for each in self._doors:
            each.close()

    def close(self) -> None:
        """Give up the handshakes under way."""
        for acceptor in self._acceptors():
            acceptor.close()

    @property
    def handshaking(self) -> int:
        """Connections that no protocol knows yet."""
        count = 0
        for door in self._doors:
            count += door.acceptor.handshaking
        if self._left:
            self._left = [each for each in self._left if each.handshaking]
            count += sum(each.handshaking for each in self._left)
        return count

    def _acceptors(self) -> list[Acceptor]:
        return [*(each.acceptor for each in self._doors), *self._left]

    def _new(self, entrance: Entrance, number: int) -> _Door:
        sock = socket.socket(fileno=number)
        acceptor = Acceptor(
            self._loop,
            sock,
            partial(ServerConnection, entrance.listener),
            admission=self._admission,
            events=_Counted(self._registry, entrance.settings.name),
            tls=entrance.tls,
            handshake_s=entrance.listener.settings.header_timeout_s,
            proxy_protocol=entrance.settings.proxy_protocol,
            refusal=refusal,
            highest_fd=highest_client_descriptor(),
        )
        if self._open:
            acceptor.start()
        return _Door(sock, acceptor)

    def _serve(self, acceptor: Acceptor, entrance: Entrance) -> None:
        acceptor.serve(
            partial(ServerConnection, entrance.listener),
            tls=entrance.tls,
            proxy_protocol=entrance.settings.proxy_protocol,
            handshake_s=entrance.listener.settings.header_timeout_s,
        )

    def _tell_expiries(self, entrances: Sequence[Entrance]) -> None:
        cells, now = self._registry.cells, {}
        for each in entrances:
            for pair in each.settings.tls.certificates if each.settings.tls else ():
                certificate = read_certificate(pair.cert)
                cell = self._registry.gauge(
                    "gateway_tls_certificate_not_after_timestamp_seconds",
                    listener=each.settings.name,
                    name=certificate.names[0] if certificate.names else str(pair.cert),
                )
                now[cell] = certificate.not_after
        for cell in self._expiries - now.keys():
            cells[cell] = 0.0
        for cell, not_after in now.items():
            cells[cell] = not_after
        self._expiries = set(now)

    def __repr__(self) -> str:
        return f"<Doors {self._acceptors()}>"


class _Counted:
    """Counts what happens on one listener before there is a protocol."""

    def __init__(self, registry: Registry, listener: str) -> None:
        self._registry = registry
        self._listener = listener

    def accept_paused(self) -> None:
        self._add("gateway_accept_paused_total")

    def rejected(self, reason: str) -> None:
        self._add("gateway_connections_rejected_total", reason=reason)

    def handshake_failed(self, reason: str) -> None:
        self._add("gateway_tls_handshake_errors_total", reason=reason)

    def _add(self, name: str, **labels: str) -> None:
        self._registry.cells[self._registry.counter(name, listener=self._listener, **labels)] += 1.0


def close_all(descriptors: Sequence[int]) -> None:
    for each in descriptors:
        os.close(each)
