"""Which sockets another config keeps, adds and leaves."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.address import parse_address
from gateway.runtime.sockets import ListenErrors, Sockets
from gateway.transport.settings import ListenSettings


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets()
    yield made
    made.close()


def wanted(*addresses: str) -> tuple[ListenSettings, ...]:
    return tuple(ListenSettings(parse_address(each)) for each in addresses)


def use(sockets: Sockets, *addresses: str) -> list[int]:
    """Ports, in order."""
    change = sockets.change(wanted(*addresses))
    change.listen_now()
    sockets.use(change)
    return [each.address.port for each in change.listen]


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_equal_addresses_keep_their_sockets_in_any_order(sockets: Sockets) -> None:
    first = use(sockets, "127.0.0.1:0", "localhost:0", "127.0.0.1:0")
    descriptors = sockets.descriptors
    assert use(sockets, "localhost:0", "127.0.0.1:0", "127.0.0.1:0") == [first[1], first[0], first[2]]
    assert sockets.descriptors == (descriptors[1], descriptors[0], descriptors[2])


def test_an_address_that_the_system_picked_may_be_written_out(sockets: Sockets) -> None:
    (port,) = use(sockets, "127.0.0.1:0")
    descriptors = sockets.descriptors
    assert use(sockets, f"127.0.0.1:{port}") == [port]
    assert sockets.descriptors == descriptors


def test_nobody_connects_to_what_is_only_prepared(sockets: Sockets) -> None:
    change = sockets.change(wanted("127.0.0.1:0"))
    port = change.listen[0].address.port
    assert not connects(port)
    change.listen_now()
    assert connects(port)
    sockets.use(change)
    use(sockets, "localhost:0")
    assert not connects(port)


def test_all_that_cannot_be_opened_is_told_and_nothing_stays(sockets: Sockets, tmp_path: Path) -> None:
    (port,) = use(sockets, "127.0.0.1:0")
    with pytest.raises(ListenErrors) as caught:
        sockets.change(wanted(f"unix:{tmp_path}/a", "192.0.2.1:0", f"127.0.0.1:{port}", "unix:/no/such/place"))
    assert [each.split(" ")[0] for each in caught.value.errors] == ["192.0.2.1:0:", "unix:/no/such/place"]
    assert list(tmp_path.iterdir()) == []
    assert connects(port)


def test_what_covers_an_address_that_goes_can_be_had(sockets: Sockets) -> None:
    (port,) = use(sockets, "127.0.0.1:0")
    for address in (f"0.0.0.0:{port}", f"127.0.0.1:{port}"):
        assert use(sockets, address) == [port]
        assert connects(port)
    with pytest.raises(ListenErrors, match="already in use"):
        sockets.change(wanted(f"127.0.0.1:{port}", f"0.0.0.0:{port}"))


def test_what_comes_after_the_end_is_closed(sockets: Sockets, tmp_path: Path) -> None:
    change = sockets.change(wanted(f"unix:{tmp_path}/a"))
    sockets.close()
    sockets.use(change)
    assert list(tmp_path.iterdir()) == []
