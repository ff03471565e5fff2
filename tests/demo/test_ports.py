"""The addresses of the demo: its own from the moment they are picked."""

import errno
import socket

import pytest

from gateway.core.address import Address
from gateway.demo.ports import HOST, reserve
from gateway.runtime.listeners import open_socket


def test_picked_ports_are_open_to_the_gateway_alone() -> None:
    with reserve(0, 0) as ports:
        for port in (ports.gateway, ports.admin):
            with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
                stranger.bind((HOST, port))
            with socket.socket() as client:
                assert client.connect_ex((HOST, port)) == errno.ECONNREFUSED, "held, and not listened on"
            opened = open_socket(Address(host=HOST, port=port))
            socket.create_connection((HOST, port), 5).close()
            opened.close()


def test_the_gateway_and_its_admin_address_are_never_one() -> None:
    with reserve(0, 0) as other:
        wished = other.gateway
    with reserve(wished, wished) as ports:
        assert ports.gateway != ports.admin


def test_a_port_that_somebody_listens_on_is_gone_around() -> None:
    with socket.create_server((HOST, 0)) as taken, reserve(taken.getsockname()[1], 0) as ports:
        assert ports.gateway != taken.getsockname()[1]
