"""The listening sockets of the gateway, in the order of `listen`, and how a reload changes them.

A socket belongs to an address of the config: what else a listener has may change while its socket stays. New ones are
bound first and listen last, so that a reload that is refused has taken no connection.
"""

from dataclasses import dataclass, replace
from socket import socket

from gateway.core.address import Address
from gateway.runtime.listeners import ListenError, OpenSocket, bind_socket
from gateway.transport.settings import ListenSettings


class ListenErrors(ListenError):
    """Addresses that cannot be listened on; `errors` has a text for each."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Change:
    """The sockets of another config, with those that are kept.

    `listen` has the real addresses, `asked` those of the config; both and `sockets` are in the same order. `leaving`
    are present ones that are not among `sockets`.
    """

    listen: tuple[ListenSettings, ...]
    asked: tuple[Address, ...]
    sockets: tuple[OpenSocket, ...]
    added: tuple[OpenSocket, ...] = ()
    leaving: tuple[OpenSocket, ...] = ()

    @property
    def descriptors(self) -> tuple[int, ...]:
        return tuple(each.sock.fileno() for each in self.sockets)

    def listen_now(self) -> None:
        """Let clients connect to what is new; give the others their backlog. Raises ListenErrors."""
        errors = []
        for settings, opened in zip(self.listen, self.sockets, strict=True):
            try:
                opened.listen(settings.backlog, _beside(opened.address, self.leaving) if opened in self.added else ())
            except ListenError as error:
                errors.append(str(error))
        if errors:
            raise ListenErrors(tuple(errors))

    def forget(self) -> None:
        """It is not used."""
        for each in self.added:
            each.close(for_good=each.address.fd < 0)  # an inherited one may be asked for again


class Sockets:
    """Belongs to the supervisor's loop; `change` may run in a thread."""

    def __init__(self) -> None:
        self._now = Change((), (), ())
        self._closed = False

    @property
    def descriptors(self) -> tuple[int, ...]:
        return self._now.descriptors

    def change(self, wanted: tuple[ListenSettings, ...]) -> Change:
        """Bind what `wanted` adds; nothing is changed yet. Raises ListenErrors, with nothing left bound."""
        asked = tuple(each.address for each in wanted)
        kept = self._kept(asked)
        leaving = tuple(each for each in self._now.sockets if each not in kept)
        sockets: list[OpenSocket] = []
        errors: list[str] = []
        for address, opened in zip(asked, kept, strict=True):
            try:
                sockets.append(opened or bind_socket(address, _beside(address, leaving)))
            except ListenError as error:
                errors.append(str(error))
        added = tuple(each for each in sockets if each not in kept)
        listen = tuple(replace(each, address=opened.address) for each, opened in zip(wanted, sockets, strict=False))
        change = Change(listen, asked, tuple(sockets), added, leaving)
        if errors:
            change.forget()
            raise ListenErrors(tuple(errors))
        return change

    def use(self, change: Change) -> None:
        """From now on these are the sockets; what is not among them is closed."""
        self._now = change
        for each in change.leaving:
            each.close(for_good=True)
        if self._closed:
            self.close()

    def close(self) -> None:
        """Close all, now and later."""
        self._closed = True
        for each in self._now.sockets:
            each.close(for_good=True)
        self._now = Change((), (), ())

    def _kept(self, asked: tuple[Address, ...]) -> list[OpenSocket | None]:
        """For each address the open socket that was asked for in the same words, or else that has this address."""
        left = list(zip(self._now.asked, self._now.sockets, strict=True))
        found: list[OpenSocket | None] = []
        for address in asked:
            same = next((each for each in left if each[0] == address), None) or next(
                (each for each in left if each[1].address == address), None
            )
            if same is not None:
                left.remove(same)
            found.append(same[1] if same else None)
        return found

    def __repr__(self) -> str:
        return f"<Sockets {[str(each.address) for each in self._now.sockets]}>"


def _beside(address: Address, leaving: tuple[OpenSocket, ...]) -> list[socket]:
    return [each.sock for each in leaving if address.port and each.address.port == address.port]
