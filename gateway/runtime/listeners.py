"""Listening sockets: opened once by the supervisor, inherited by every worker, kept while workers come and go."""

import errno
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.core.address import Address

UNIX_MODE = 0o666
"""Whoever reaches the directory may connect, as with nginx: guard the directory."""
_LISTEN_STATE = "0A"


class ListenError(Exception):
    """An address that cannot be listened on; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """A bound socket. `address` is the real one: port 0 became a number."""

    address: Address
    sock: socket.socket
    inode: int = 0
    """Of the file of a unix socket that we made."""

    def listen(self, backlog: int, beside: Sequence[socket.socket] = ()) -> None:
        """Let clients connect; on a socket that listens, change the backlog. `beside`: as with `bind_socket`.

        Raises ListenError.
        """
        if self.address.fd >= 0:
            return
        try:
            with _shared((*beside, self.sock) if beside else ()):
                self.sock.listen(backlog)
        except OSError as error:
            raise ListenError(_explain(self.address, error)) from None

    def close(self, *, for_good: bool = False) -> None:
        """Close this process's copy; `for_good` also what would make clients wait for nobody: a unix socket's file, if
        it is still ours, and the descriptor that the gateway was started with."""
        self.sock.close()
        if not for_good:
            return
        if self.address.fd >= 0:
            with suppress(OSError):
                os.close(self.address.fd)
        if self.inode:
            path = Path(self.address.path)
            if path.exists() and path.stat().st_ino == self.inode:
                path.unlink()


def open_socket(address: Address, backlog: int = 128) -> OpenSocket:
    """A listening socket on `address`, close-on-exec. Raises ListenError."""
    opened = bind_socket(address)
    try:
        opened.listen(backlog)
    except ListenError:
        opened.close(for_good=True)
        raise
    return opened


def bind_socket(address: Address, beside: Sequence[socket.socket] = ()) -> OpenSocket:
    """A socket on `address` that does not listen yet (but for an inherited one). Raises ListenError.

    `beside`: sockets of ours that are about to go, and that the address may collide with.
    """
    try:
        if address.fd >= 0:
            return _inherited(address)
        if address.path:
            return _unix(address)
        return _tcp(address, beside)
    except OSError as error:
        raise ListenError(_explain(address, error)) from None


def _tcp(address: Address, beside: Sequence[socket.socket]) -> OpenSocket:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except socket.gaierror as error:
        raise ListenError(f"{address}: the name {address.host} does not resolve ({error.strerror})") from None
    # A name such as localhost may have several addresses: the IPv4 one is what clients try in any case.
    family, _, _, _, where = min(found, key=lambda each: each[0] != socket.AF_INET)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Bind past connections in TIME_WAIT. Not SO_REUSEPORT: then a second gateway would share the address unseen.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        with _shared((*beside, sock) if beside else ()):
            sock.bind(where)
    except OSError:
        sock.close()
        raise
    host, port = sock.getsockname()[:2]
    return OpenSocket(Address(host=host, port=port), sock)


@contextmanager
def _shared(sockets: Sequence[socket.socket]) -> Iterator[None]:
    """Meanwhile, these may stand beside each other: 127.0.0.1 and 0.0.0.0, the one that comes and the one that goes."""
    for sock in sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        yield
    finally:
        for sock in sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)


def _unix(address: Address) -> OpenSocket:
    _remove_stale(address.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(address.path)
        os.chmod(address.path, UNIX_MODE)
    except OSError:
        sock.close()
        raise
    return OpenSocket(address, sock, os.stat(address.path).st_ino)


def _remove_stale(path: str) -> None:
    """Remove a socket file that nobody answers on; raises ListenError for any other file."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"unix:{path}: the file exists and is not a socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except BlockingIOError:
            raise OSError(errno.EADDRINUSE, "in use") from None
        else:
            raise OSError(errno.EADDRINUSE, "in use")


def _inherited(address: Address) -> OpenSocket:
    try:
        sock = socket.socket(fileno=os.dup(address.fd))
    except OSError:
        raise ListenError(f"{address}: no socket was passed to the gateway with this number") from None
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise ListenError(f"{address}: is not a listening stream socket")
    return OpenSocket(address, sock)


def _explain(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        holder = "" if address.path else _holder(address.port)
        return f"{address} is already in use{holder}; stop it or choose another address"
    if error.errno == errno.EACCES and not address.path and address.port < 1024:
        return f"{address}: ports below 1024 need root or CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address}: no interface of this machine has the address {address.host}"
    return f"{address} cannot be listened on: {error.strerror}"


def _holder(port: int) -> str:
    """` by NAME (pid N)` for who listens on the port, as far as this user may see it."""
    inodes = set(_inodes(port))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for fd in (process / "fd").iterdir():
                if os.readlink(fd) in inodes:
                    return f" by {(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
    return ""


def _inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError), open(table) as rows:
            next(rows)
            for row in rows:  # a busy machine has very many
                cells = row.split()
                if cells[3] == _LISTEN_STATE and int(cells[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{cells[9]}]"
