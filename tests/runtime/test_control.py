"""The conversation of supervisor and worker."""

import os
import resource

import pytest

from gateway.config.settings import GatewaySettings
from gateway.core.address import Address
from gateway.runtime.control import Control, Drain, Failed, Prepare, Ready, Start, fetch_settings, store_settings
from gateway.transport.settings import ListenSettings


def test_messages_keep_their_borders_and_the_end_is_told() -> None:
    ours, sock = Control.pair()
    theirs = Control(sock)
    sent = (Start("l", 1, 2, 3, 4, (5, 6)), Drain(2.5), Ready(), Failed("x" * 5000))
    for message in sent:
        assert ours.send(message)
    assert tuple(theirs.receive() for _ in sent) == sent
    with pytest.raises(BlockingIOError):
        ours.receive()
    ours.close()
    assert theirs.receive() is None
    assert not theirs.send(Ready())
    theirs.close()


def test_settings_are_read_by_any_number() -> None:
    settings = GatewaySettings(listen=(ListenSettings(Address("::1", 80)),), routes=(), hash="h" * 100_000)
    fd = store_settings(settings)
    assert fetch_settings(fd) == fetch_settings(fd) == settings
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_descriptors_travel_with_a_config() -> None:
    ours, sock = Control.pair()
    theirs = Control(sock)
    memory, listener = os.memfd_create("m"), os.memfd_create("l")
    assert ours.send(Prepare(7, memory, (listener,)))
    got = theirs.receive()
    assert isinstance(got, Prepare)
    assert got.number == 7
    assert os.path.sameopenfile(got.settings, memory)
    assert [os.path.sameopenfile(each, listener) for each in got.sockets] == [True]
    for each in (memory, listener, *got.descriptors):
        os.close(each)


def test_a_receiver_without_room_for_descriptors_learns_of_the_config() -> None:
    ours, sock = Control.pair()
    theirs = Control(sock)
    held = [os.memfd_create("m")]
    assert ours.send(Prepare(7, held[0], (held[0], held[0])))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(held[0]) + 2, before[1]))
    try:
        assert theirs.receive() == Prepare(7)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
