"""The conversation of supervisor and worker."""

import os

import pytest

from gateway.config.settings import GatewaySettings
from gateway.core.address import Address
from gateway.runtime.control import Control, Drain, Failed, Ready, Start, fetch_settings, store_settings
from gateway.transport.settings import ListenSettings


def test_messages_keep_their_borders_and_the_end_is_told() -> None:
    ours, sock = Control.pair()
    theirs = Control(sock)
    sent = (Start(1, 2, 3, 4, (5, 6)), Drain(2.5), Ready(), Failed("x" * 5000))
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
