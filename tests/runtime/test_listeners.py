"""Listening sockets: what is opened, what is refused, and what the refusal says."""

import os
import socket
import stat
from pathlib import Path

import pytest

from gateway.core.address import Address, parse_address
from gateway.runtime.listeners import ListenError, OpenSocket, open_socket


def test_port_0_becomes_the_real_port() -> None:
    opened = open_socket(parse_address("127.0.0.1:0"))
    assert opened.address == Address("127.0.0.1", opened.sock.getsockname()[1])
    assert not opened.sock.get_inheritable()
    socket.create_connection(("127.0.0.1", opened.address.port), 5).close()
    opened.close()


def test_a_name_is_listened_on_at_its_ipv4_address() -> None:
    opened = open_socket(parse_address("localhost:0"))
    assert opened.address.host == "127.0.0.1"
    opened.close()


def test_ipv6_leaves_the_port_to_ipv4() -> None:
    four = open_socket(parse_address("0.0.0.0:0"))
    six = open_socket(parse_address(f"[::]:{four.address.port}"))
    six.close()
    four.close()


@pytest.mark.parametrize("held_on", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("reuse_port", [False, True])
def test_an_address_in_use_is_refused_by_name(held_on: str, reuse_port: bool) -> None:
    with socket.socket() as holder:
        if reuse_port:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((held_on, 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ListenError) as caught:
            open_socket(parse_address(f"127.0.0.1:{port}"))
    name = Path("/proc/self/comm").read_text().strip()
    assert str(caught.value) == (
        f"127.0.0.1:{port} is already in use by {name} (pid {os.getpid()}); stop it or choose another address"
    )


def test_connections_in_time_wait_are_no_obstacle() -> None:
    opened = open_socket(parse_address("127.0.0.1:0"))
    client = socket.create_connection(opened.sock.getsockname(), 5)
    accepted, _ = opened.sock.accept()
    accepted.close()
    client.close()
    opened.close()
    open_socket(opened.address).close()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("192.0.2.1:0", "no interface of this machine has the address 192.0.2.1"),
        ("no-such-name.invalid:0", "the name no-such-name.invalid does not resolve"),
        ("fd:999", "no socket was passed to the gateway with this number"),
        ("unix:/no/such/directory/sock", "cannot be listened on: No such file or directory"),
    ],
)
def test_what_cannot_be_listened_on_says_why(address: str, words: str) -> None:
    with pytest.raises(ListenError) as caught:
        open_socket(parse_address(address))
    assert words in str(caught.value)
    assert address in str(caught.value)


def test_a_unix_socket_is_open_to_all_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    opened = open_socket(parse_address(f"unix:{path}"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    with pytest.raises(ListenError, match="is already in use"):
        open_socket(opened.address)
    opened.close(for_good=True)
    assert not path.exists()


def test_the_file_of_a_dead_gateway_is_replaced_and_of_a_successor_kept(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    dead = open_socket(parse_address(f"unix:{path}"))
    dead.close()
    successor = open_socket(dead.address)
    OpenSocket(dead.address, dead.sock, successor.inode + 1).close(for_good=True)
    assert path.exists()
    successor.close(for_good=True)


def test_another_file_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(ListenError, match="exists and is not a socket"):
        open_socket(parse_address(f"unix:{path}"))
    assert path.read_text() == "mine"


def test_an_inherited_socket_must_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as good, socket.socket() as idle:
        opened = open_socket(Address(fd=good.fileno()))
        assert opened.sock.getsockname() == good.getsockname()
        opened.close()
        with pytest.raises(ListenError, match="is not a listening stream socket"):
            open_socket(Address(fd=idle.fileno()))
