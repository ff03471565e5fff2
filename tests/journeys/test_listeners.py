"""TLS, PROXY headers and inherited sockets, through a real gateway."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from tests.support.gateway import Gateway
from tests.support.upstream import Upstream
from tests.support.wait import until

Serve = Callable[..., Gateway]

PING = "routes: [{name: ping, match: /ping, respond: {status: 200, body: pong}}]\n"
REQUEST = b"GET /ping HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="module")
def files(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with NAME.pem and NAME.key for two names, and ca.pem."""
    directory = tmp_path_factory.mktemp("tls")
    for name in ("a.example.com", "b.example.com"):
        cert = ca.issue_cert(name, key_type=trustme.KeyType.ECDSA)
        cert.private_key_pem.write_to_path(str(directory / f"{name}.key"))
        cert.cert_chain_pems[0].write_to_path(str(directory / f"{name}.pem"))
    ca.cert_pem.write_to_path(str(directory / "ca.pem"))
    return directory


def pair(files: Path, name: str) -> str:
    return f"cert: {files}/{name}.pem, key: {files}/{name}.key"


def over_tls(ca: trustme.CA, port: int, name: str, before: bytes = b"", cert: str = "") -> tuple[bytes, str]:
    """The whole answer to REQUEST, and the name in the certificate that was shown."""
    client = ssl.create_default_context()
    ca.configure_trust(client)
    if cert:
        client.load_cert_chain(f"{cert}.pem", f"{cert}.key")
    with socket.create_connection(("127.0.0.1", port), 5) as raw:
        raw.sendall(before)
        with client.wrap_socket(raw, server_hostname=name) as sock:
            sock.sendall(REQUEST)
            shown = sock.getpeercert()
            assert shown is not None
            names = [str(each[1]) for each in shown["subjectAltName"]]
            return b"".join(iter(lambda: sock.recv(65536), b"")), names[0]


def plain(port: int, before: bytes = b"") -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(before + REQUEST)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_certificates_by_name_and_their_expiry(serve: Serve, ca: trustme.CA, files: Path) -> None:
    certificates = ", ".join(f"{{{pair(files, name)}}}" for name in ("a.example.com", "b.example.com"))
    gateway = serve(f'listen: {{address: "127.0.0.1:0", tls: [{certificates}]}}\n{PING}')
    assert gateway.base_url.startswith("https://")
    for name in ("a.example.com", "b.example.com"):
        answer, shown = over_tls(ca, gateway.port, name)
        assert answer.endswith(b"pong")
        assert shown == name
    for name in ("a.example.com", "b.example.com"):
        expiry = gateway.metric("gateway_tls_certificate_not_after_timestamp_seconds", name=name)
        assert expiry > 1_700_000_000
    with socket.create_connection(("127.0.0.1", gateway.port), 5) as sock:
        sock.sendall(REQUEST)
        until(lambda: gateway.metric("gateway_tls_handshake_errors_total", reason="plain_http") == 1)


def test_client_certificates(serve: Serve, ca: trustme.CA, files: Path) -> None:
    tls = f"tls: {{{pair(files, 'a.example.com')}, client_ca: {files}/ca.pem}}"
    gateway = serve(f'listen: {{address: "127.0.0.1:0", {tls}}}\n{PING}')
    answer, _ = over_tls(ca, gateway.port, "a.example.com", cert=str(files / "b.example.com"))
    assert answer.endswith(b"pong")
    with suppress(OSError):  # an alert, a reset or an end, whichever comes first
        assert over_tls(ca, gateway.port, "a.example.com")[0] == b""
    until(lambda: gateway.metric("gateway_tls_handshake_errors_total", reason="no_certificate") == 1)


def test_the_proxy_header_says_who_the_client_is(serve: Serve, upstream: Callable[..., Upstream]) -> None:
    target = upstream()
    gateway = serve(
        'listen: {address: "127.0.0.1:0", proxy_protocol: true}\n'
        f'upstreams: {{u: "{target.url}"}}\nroutes: [{{name: all, match: "/*", to: u}}]\n'
    )
    assert plain(gateway.port, b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n").endswith(b"ok")
    assert target.requests[0].fields("x-forwarded-for") == ["192.0.2.7"]
    until(gateway.access_log)
    assert gateway.access_log()[0]["client_ip"] == "192.0.2.7"
    assert b"200 OK" not in _refused(gateway.port)
    until(lambda: gateway.metric("gateway_connections_rejected_total", reason="proxy_protocol") == 1)


def _refused(port: int) -> bytes:
    try:
        return plain(port)
    except ConnectionResetError:
        return b""


def test_the_proxy_header_ahead_of_tls(serve: Serve, ca: trustme.CA, files: Path) -> None:
    tls = f"tls: {{{pair(files, 'a.example.com')}}}"
    gateway = serve(f'listen: {{address: "127.0.0.1:0", proxy_protocol: true, {tls}}}\n{PING}')
    header = b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n"
    answer, _ = over_tls(ca, gateway.port, "a.example.com", before=header)
    assert answer.endswith(b"pong")
    until(gateway.access_log)
    assert gateway.access_log()[0]["client_ip"] == "2001:db8::7"


def test_a_socket_of_the_parent_is_served(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        config = tmp_path / "gateway.yaml"
        config.write_text(f"listen: fd:{number}\nadmin: 127.0.0.1:0\n{PING}")
        with (tmp_path / "err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "run", str(config)],
                pass_fds=(number,),
                stdout=subprocess.DEVNULL,
                stderr=err,
                env=os.environ,
            )
        try:
            # Connects at once, as the parent listens already: the answer comes when the gateway is there.
            assert plain(listener.getsockname()[1]).endswith(b"pong")
        finally:
            process.terminate()
        assert process.wait(10) == 0
        assert f"listening on fd:{number}" in (tmp_path / "err").read_text()
