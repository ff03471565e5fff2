"""The addresses of the demo, all on loopback: the wished ones where they are free, others where not."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from gateway.demo.features import Feature

HOST = "127.0.0.1"
UPSTREAMS = {
    "orders": ("orders-1", "orders-2"),
    "quotes": ("quotes", "quotes-next"),
    "ticks": ("ticks",),
    "portfolio": ("accounts", "holdings", "risk", "news"),
}
"""Each process of the demo, and the names it listens under."""


@dataclass(frozen=True, slots=True)
class Ports:
    """`upstreams`: listening sockets by process and name. `gone`: taken by us, so that surely nobody listens there."""

    gateway: int
    admin: int
    gone: int
    upstreams: dict[str, dict[str, socket.socket]]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.gateway}"

    @property
    def admin_url(self) -> str:
        return f"http://{HOST}:{self.admin}"

    def base(self, feature: Feature) -> str:
        """Where the request of `feature` goes."""
        return self.admin_url if feature.admin else self.url

    def upstream_urls(self) -> Iterator[tuple[str, str]]:
        for addresses in self.upstreams.values():
            for name, listener in addresses.items():
                yield name, f"http://{HOST}:{_port(listener)}"

    def environment(self) -> dict[str, str]:
        """What config/demo.yaml expands."""
        ports = {"listen": self.gateway, "admin": self.admin, "gone": self.gone}
        for addresses in self.upstreams.values():
            ports.update({name: _port(listener) for name, listener in addresses.items()})
        return {f"DEMO_{name.upper().replace('-', '_')}": f"{HOST}:{port}" for name, port in ports.items()}


@contextmanager
def reserve(gateway: int, admin: int) -> Iterator[Ports]:
    """The ports of one demo, held until the end; the upstreams are given their sockets as they are."""
    with ExitStack() as stack:
        upstreams = {
            kind: {name: stack.enter_context(socket.create_server((HOST, 0))) for name in names}
            for kind, names in UPSTREAMS.items()
        }
        # Bound but not listening: a connection is refused, and no other program can take the port.
        gone = stack.enter_context(socket.socket())
        gone.bind((HOST, 0))
        first = stack.enter_context(_hold(gateway))
        second = stack.enter_context(_hold(admin, _port(first)))
        yield Ports(_port(first), _port(second), _port(gone), upstreams)


def _hold(wished: int, taken: int = 0) -> socket.socket:
    """A socket bound to `wished` when nobody listens there, else to a free port; never to `taken`.

    It does not listen: the gateway can, since both say SO_REUSEADDR, but the system gives the port to nobody else.
    """
    for port in (wished, 0):
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((HOST, port))
        except OSError:
            held.close()
            continue
        if _port(held) != taken:
            return held
        held.close()
    raise OSError(f"no free port on {HOST}")


def _port(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])
