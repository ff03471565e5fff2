"""TLS contexts: certificates by name, client certificates, resumption, and errors that name the file."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from gateway.transport.settings import CertificateSettings, ListenTlsSettings, Pem, UpstreamTlsSettings
from gateway.transport.tls import (
    Certificate,
    TlsError,
    client_tls,
    handshake_error,
    read_certificate,
    read_pem,
    server_tls,
)
from tests.support.wait import until


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


Issue = Callable[..., CertificateSettings]


@pytest.fixture
def issue(ca: trustme.CA, tmp_path: Path) -> Issue:
    def make(*names: str, ca: trustme.CA = ca) -> CertificateSettings:
        cert = ca.issue_cert(*names, key_type=trustme.KeyType.ECDSA)
        stem = tmp_path / names[0].replace("*", "any")
        cert.private_key_pem.write_to_path(f"{stem}.key")
        cert.cert_chain_pems[0].write_to_path(f"{stem}.pem")
        return CertificateSettings(read_pem(f"{stem}.pem"), read_pem(f"{stem}.key"))

    return make


@contextmanager
def serving(side: ssl.SSLContext, connections: int = 1) -> Iterator[tuple[int, list[OSError]]]:
    """Greets every connection after the handshake; yields the port and the errors seen."""
    listener = socket.create_server(("127.0.0.1", 0))
    errors: list[OSError] = []

    def serve() -> None:
        for _ in range(connections):
            raw, _ = listener.accept()
            try:
                with side.wrap_socket(raw, server_side=True) as sock:
                    sock.sendall(b"hello")
                    sock.recv(1)
            except OSError as error:
                errors.append(error)
                raw.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], errors
    finally:
        thread.join(10)
        listener.close()


def shake(
    port: int, side: ssl.SSLContext, name: str, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLSocket, list[str]]:
    """The connection, and the names in the certificate that was shown."""
    raw = socket.create_connection(("127.0.0.1", port), 5)
    sock = side.wrap_socket(raw, server_hostname=name, session=session)
    assert sock.recv(5) == b"hello"
    shown = sock.getpeercert()
    assert shown is not None
    return sock, [str(each[1]) for each in shown["subjectAltName"]]


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    side = ssl.create_default_context()
    ca.configure_trust(side)
    return side


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("a.example.com", "a.example.com"),
        ("B.EXAMPLE.com", "b.example.com"),
        ("any.shop.example.com", "*.shop.example.com"),
        ("b.shop.example.com", "b.shop.example.com"),
    ],
)
def test_the_name_chooses_the_certificate(asked: str, expected: str, ca: trustme.CA, issue: Issue) -> None:
    names = ("a.example.com", "b.example.com", "*.shop.example.com", "b.shop.example.com")
    side = server_tls(ListenTlsSettings(tuple(issue(name) for name in names)))
    with serving(side) as (port, _):
        sock, shown = shake(port, trusting(ca), asked)
        assert shown == [expected]
        sock.close()


def test_an_unknown_name_gets_the_first_certificate(ca: trustme.CA, issue: Issue) -> None:
    side = server_tls(ListenTlsSettings((issue("a.example.com"), issue("b.example.com"))))
    lenient = trusting(ca)
    lenient.check_hostname = False
    with serving(side) as (port, _):
        sock, shown = shake(port, lenient, "other.example.com")
        assert shown == ["a.example.com"]
        sock.close()


def test_client_certificates_are_required_and_verified(ca: trustme.CA, issue: Issue, tmp_path: Path) -> None:
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    side = server_tls(ListenTlsSettings((issue("a.example.com"),), client_ca=read_pem(str(tmp_path / "ca.pem"))))
    ours, foreign = issue("client"), issue("stranger", ca=trustme.CA())
    with serving(side, 3) as (port, errors):
        for certificate, reason in ((None, "no_certificate"), (foreign, "bad_certificate")):
            client = trusting(ca)
            if certificate:
                client.load_cert_chain(certificate.cert.path, certificate.key.path)
            with pytest.raises(OSError):  # noqa: PT011 - an alert or a reset, whichever comes first
                shake(port, client, "a.example.com")
            until(lambda: errors, what="the server's error")
            assert handshake_error(errors.pop()) == reason
        client = trusting(ca)
        client.load_cert_chain(ours.cert.path, ours.key.path)
        shake(port, client, "a.example.com")[0].close()


def test_sessions_are_resumed(ca: trustme.CA, issue: Issue) -> None:
    side = server_tls(ListenTlsSettings((issue("a.example.com"), issue("b.example.com"))))
    client = trusting(ca)
    with serving(side, 2) as (port, _):
        first, _ = shake(port, client, "b.example.com")
        session = first.session
        first.close()
        second, _ = shake(port, client, "b.example.com", session)
        assert second.session_reused
        second.close()


@pytest.mark.parametrize(("minimum", "accepted"), [("1.2", True), ("1.3", False)])
def test_the_minimum_version(minimum: str, accepted: bool, ca: trustme.CA, issue: Issue) -> None:
    side = server_tls(ListenTlsSettings((issue("a.example.com"),), min_version=minimum))
    client = trusting(ca)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(side) as (port, errors):
        if accepted:
            sock, _ = shake(port, client, "a.example.com")
            assert sock.cipher() is not None
            sock.close()
        else:
            with pytest.raises(OSError):  # noqa: PT011
                shake(port, client, "a.example.com")
    assert [handshake_error(error) for error in errors] == ([] if accepted else ["version"])


def test_http_is_agreed_by_alpn(ca: trustme.CA, issue: Issue) -> None:
    client = trusting(ca)
    client.set_alpn_protocols(["h2", "http/1.1"])
    with serving(server_tls(ListenTlsSettings((issue("a.example.com"),)))) as (port, _):
        sock, _ = shake(port, client, "a.example.com")
        assert sock.selected_alpn_protocol() == "http/1.1"
        sock.close()


def test_a_client_side_verifies_unless_told_not_to(ca: trustme.CA, issue: Issue, tmp_path: Path) -> None:
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    side = server_tls(ListenTlsSettings((issue("a.example.com"),)))
    with serving(side, 3) as (port, _):
        shake(port, client_tls(UpstreamTlsSettings(ca=read_pem(str(tmp_path / "ca.pem")))), "a.example.com")[0].close()
        with pytest.raises(ssl.SSLCertVerificationError):
            shake(port, client_tls(UpstreamTlsSettings()), "a.example.com")
        raw = socket.create_connection(("127.0.0.1", port), 5)
        careless = client_tls(UpstreamTlsSettings(verify=False))
        with careless.wrap_socket(raw, server_hostname="other") as sock:
            assert sock.recv(5) == b"hello"


def test_what_a_certificate_says(issue: Issue) -> None:
    made = issue("a.example.com", "*.b.example.com", "192.0.2.1")
    found = read_certificate(made.cert)
    assert set(found.names) == {"a.example.com", "*.b.example.com", "192.0.2.1"}
    assert found.not_after > 1_700_000_000
    assert Certificate((), 100.0).expired(100.0)
    assert not Certificate((), 100.0).expired(99.0)


def test_errors_name_the_file_and_the_key(issue: Issue, tmp_path: Path) -> None:
    one, two = issue("a.example.com"), issue("b.example.com")
    junk = tmp_path / "junk"
    junk.write_text("nothing\n")
    locked = str(tmp_path / "locked.key")
    subprocess.run(
        ["openssl", "pkey", "-in", one.key.path, "-aes128", "-passout", "pass:x", "-out", locked], check=True
    )
    for cert, key, wrong, words in (
        (one.cert, two.key, "key", f"the key {two.key} does not belong to the certificate {one.cert}"),
        (read_pem(str(junk)), one.key, "cert", f"{junk} holds no certificate in PEM form"),
        (one.cert, read_pem(str(junk)), "key", f"{junk} holds no private key in PEM form"),
        (one.cert, read_pem(locked), "key", f"{locked} is encrypted: decrypt it with"),
    ):
        with pytest.raises(TlsError) as caught:
            server_tls(ListenTlsSettings((CertificateSettings(cert, key),)))
        assert words in str(caught.value)
        assert caught.value.key == wrong


def test_a_bad_ca_file_is_named(issue: Issue, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_text("nothing\n")
    with pytest.raises(TlsError, match="holds no certificates in PEM form"):
        client_tls(UpstreamTlsSettings(ca=read_pem(str(junk))))
    with pytest.raises(TlsError, match="holds no certificates in PEM form"):
        server_tls(ListenTlsSettings((issue("a"),), client_ca=Pem("gone.pem")))
    with pytest.raises(TlsError, match="cannot be read: Is a directory"):
        read_pem(str(tmp_path))
