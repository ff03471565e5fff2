"""Certificate files: each way in which they cannot be used has its message."""

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.config.load import load
from gateway.transport.settings import CertificateSettings, ListenTlsSettings
from gateway.transport.tls import read_pem
from tests.config.conftest import Faults, Write

ROUTE = "routes: [{match: /, respond: 204}]\n"
LISTEN = "listen: {address: ':8443', tls: {cert: %s, key: %s}}\n" + ROUTE


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    """A directory with a certificate, its key, its CA, and what does not fit them."""
    authority = trustme.CA()
    for name in ("a", "b"):
        issued = authority.issue_cert(f"{name}.example")
        issued.private_key_pem.write_to_path(f"{tmp_path}/{name}.key")
        issued.cert_chain_pems[0].write_to_path(f"{tmp_path}/{name}.pem")
    authority.cert_pem.write_to_path(f"{tmp_path}/ca.pem")
    (tmp_path / "junk.pem").write_bytes(b"\x00junk")
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    (tmp_path / "locked.key").write_bytes(locked)
    return tmp_path


def test_good_files_become_absolute_settings(tls: Path, write: Write) -> None:
    text = """
listen:
  - address: ":8443"
    tls: [{cert: a.pem, key: a.key, client_ca: ca.pem, min: 1.3}, {cert: b.pem, key: b.key, min: "1.3"}]
upstreams: {a: {targets: https://h, tls: {ca: ca.pem, cert: a.pem, key: a.key}}}
routes: [{match: /, to: a}]
"""
    settings = load(write(text)).settings
    assert settings.listen[0].tls == ListenTlsSettings(
        (
            CertificateSettings(read_pem(f"{tls}/a.pem"), read_pem(f"{tls}/a.key")),
            CertificateSettings(read_pem(f"{tls}/b.pem"), read_pem(f"{tls}/b.key")),
        ),
        read_pem(f"{tls}/ca.pem"),
        "1.3",
    )
    assert settings.upstreams[0].tls.ca == read_pem(f"{tls}/ca.pem")


@pytest.mark.parametrize(
    ("cert", "key", "blamed", "fault"),
    [
        ("nope.pem", "a.key", "cert", "cannot read nope.pem: no such file or directory"),
        ("a.pem", "nope.key", "key", "cannot read nope.key: no such file or directory"),
        ("a.pem", "b.key", "key", "b.key is not the key of the certificate a.pem"),
        ("junk.pem", "a.key", "cert", "junk.pem has no certificate in PEM form"),
        ("a.key", "a.key", "cert", "a.key has no certificate in PEM form"),
        ("a.pem", "a.pem", "key", "a.pem has no private key in PEM form"),
        ("a.pem", "locked.key", "key", "locked.key has a passphrase, which nobody could type in; store it without"),
        ("broken.pem", "a.key", "cert", "broken.pem and a.key cannot be used: "),
        ("dir", "a.key", "cert", "cannot read dir: is a directory"),
        ("", "a.key", "cert", "is empty (remove the key or give it a value)"),
    ],
)
def test_a_pair_that_cannot_be_used(cert: str, key: str, blamed: str, fault: str, tls: Path, faults: Faults) -> None:
    (tls / "dir").mkdir()
    text = LISTEN % (repr(cert), repr(key))
    column = text.index(f"{blamed}: '") + len(blamed) + 3
    (found,) = faults(text)
    assert found.startswith(f"c.yaml:1:{column}: listen.tls.{blamed}: {fault}")


def test_certificates_of_upstreams(tls: Path, faults: Faults) -> None:
    found = faults(
        """
defaults: {upstream: {tls: {ca: a.key}}}
upstreams:
  a: {targets: https://h, tls: {cert: a.pem}}
  b: {targets: https://h, tls: {cert: a.pem, key: b.key, ca: ca.pem}}
  c: https://i
routes: [{match: /a, to: a}, {match: /b, to: b}, {match: /c, to: c}]
"""
    )
    assert found == [
        "c.yaml:2:33: defaults.upstream.tls.ca: a.key has no certificates in PEM form",
        "c.yaml:4:32: upstreams.a.tls: cert and key go together (add `key`)",
        "c.yaml:5:51: upstreams.b.tls.key: b.key is not the key of the certificate a.pem",
    ]


def test_certificates_of_one_listener_agree(tls: Path, faults: Faults) -> None:
    text = "listen: {address: ':1', tls: [{cert: a.pem, key: a.key}, {cert: b.pem, key: b.key, min: 1.3}]}\n" + ROUTE
    assert faults(text) == ["c.yaml:1:30: listen.tls: the certificates of one listener must agree in `min`"]


def test_a_listener_with_tls_redirects_nobody(tls: Path, faults: Faults) -> None:
    text = "listen: [':1', {address: ':2', redirect: https, tls: {cert: a.pem, key: a.key}}]\n" + ROUTE
    assert faults(text) == [
        "c.yaml:1:42: listen[1].redirect: a listener with tls is https already; redirect is for plain ones"
    ]
