"""Checks reach a target as requests do: over TLS, by a unix socket, at each address of a name."""

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.runtime.prober import Checked, Gone, Prober
from gateway.transport.settings import UpstreamTlsSettings
from gateway.transport.tls import read_pem
from gateway.upstreams.settings import HealthSettings, TargetSettings, UpstreamSettings
from tests.support.upstream import Upstream, Wire
from tests.support.wait import until

HEALTH = HealthSettings("/healthz?deep=1", every_s=0.1, timeout_s=2.0)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def trusted(ca: trustme.CA, tmp_path: Path) -> str:
    """What a config reads of the CA's file."""
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return read_pem(str(tmp_path / "ca.pem"))


@contextmanager
def checking(*targets: TargetSettings, **more: Any) -> Iterator[list[Checked | Gone]]:
    """All that a prober tells."""
    told: list[Checked | Gone] = []
    prober = Prober(told.append)
    prober.check([UpstreamSettings("u", targets, health=more.pop("health", HEALTH), **more)])
    try:
        yield told
    finally:
        prober.stop()


def first(told: list[Checked | Gone]) -> Checked:
    until(lambda: bool(told), 10, "a first check")
    found = told[0]
    assert isinstance(found, Checked)
    return found


def serving_tls(ca: trustme.CA, name: str) -> Upstream:
    side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name, key_type=trustme.KeyType.ECDSA).configure_cert(side)
    return Upstream(tls=side)


@pytest.mark.parametrize(
    ("name", "server_name", "passes", "why"),
    [
        ("localhost", "", True, "status 200"),
        ("orders.internal", "orders.internal", True, "status 200"),
        ("orders.internal", "", False, "tls_failed: "),
    ],
)
def test_over_tls_the_certificate_counts(
    ca: trustme.CA, trusted: str, name: str, server_name: str, passes: bool, why: str
) -> None:
    with serving_tls(ca, name) as target:
        to = TargetSettings("localhost", target.port, tls=True)
        with checking(to, tls=UpstreamTlsSettings(ca=trusted, server_name=server_name)) as told:
            found = first(told)
        assert (found.passed, found.up) == (passes, passes)
        assert found.why.startswith(why)
        assert [each.line for each in target.requests[:1]] == [b"GET /healthz?deep=1 HTTP/1.1"] * passes


def test_a_ca_that_is_not_ours_fails(ca: trustme.CA) -> None:
    with serving_tls(ca, "localhost") as target, checking(TargetSettings("localhost", target.port, tls=True)) as told:
        found = first(told)
    assert not found.up
    assert found.why.startswith("tls_failed: ")


def test_plain_http_where_tls_is_spoken_fails(ca: trustme.CA) -> None:
    with serving_tls(ca, "localhost") as target, checking(TargetSettings("localhost", target.port)) as told:
        assert not first(told).up


def test_by_a_unix_socket(tmp_path: Path) -> None:
    heads: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += self.rfile.readline()
            heads.append(head)
            self.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    path = str(tmp_path / "app.sock")
    with socketserver.ThreadingUnixStreamServer(path, Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with checking(TargetSettings("localhost", 0, path=path)) as told:
            found = first(told)
        server.shutdown()
    assert (found.target, found.up, found.why) == (f"unix:{path}", True, "status 204")
    assert b"\r\nHost: localhost\r\n" in heads[0]


def test_a_unix_socket_that_is_not_there_is_said(tmp_path: Path) -> None:
    with checking(TargetSettings("localhost", 0, path=str(tmp_path / "gone.sock"))) as told:
        found = first(told)
    assert not found.up
    assert "No such file or directory" in found.why


def test_each_address_of_a_name_is_checked_and_told_of_by_itself() -> None:
    with Upstream() as target, checking(TargetSettings("localhost", target.port, dns=True)) as told:
        wanted = f"127.0.0.1:{target.port}"
        until(lambda: any(each.target == wanted for each in told), 10, "its address")
        assert next(each.up for each in told if isinstance(each, Checked) and each.target == wanted)
        assert target.requests[0].fields("host") == [f"localhost:{target.port}"], "by its name"
    assert all(each.target != f"localhost:{target.port}" for each in told)


def test_a_name_with_tls_is_checked_by_its_name(ca: trustme.CA, trusted: str) -> None:
    with serving_tls(ca, "localhost") as target:
        to = TargetSettings("localhost", target.port, tls=True, dns=True)
        with checking(to, tls=UpstreamTlsSettings(ca=trusted)) as told:
            wanted = f"127.0.0.1:{target.port}"
            until(lambda: any(each.target == wanted for each in told), 10, "its address")
    assert next(each.why for each in told if isinstance(each, Checked) and each.target == wanted) == "status 200"


async def _mute(wire: Wire) -> None:
    await wire.eof()


async def _endless(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000)
    await wire.eof()


async def _announced(wire: Wire) -> None:
    await wire.request()
    await wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")


async def _garbage(wire: Wire) -> None:
    await wire.send(b"SSH-2.0\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (_mute, "no answer within 0.3s"),
        (_endless, "upstream_protocol: the head of the answer does not end"),
        (_announced, "status 503"),
        (_garbage, "upstream_protocol: "),
    ],
)
def test_what_is_no_good_answer_is_said(script: Any, why: str) -> None:
    health = HealthSettings("/", every_s=0.1, timeout_s=0.3)
    with Upstream(script) as target, checking(TargetSettings("127.0.0.1", target.port), health=health) as told:
        found = first(told)
    assert not found.up
    assert found.why.startswith(why)
