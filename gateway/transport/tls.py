"""TLS: contexts for listeners and for targets, what certificates say, and errors that name the file to mend."""

import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from gateway.transport.settings import CertificateSettings, ListenTlsSettings, Pem, UpstreamTlsSettings

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and AEAD only (Mozilla's intermediate profile without DHE, which costs the server)."""
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
TICKETS = 1
"""Per handshake of TLS 1.3 (OpenSSL makes 2): clients that open several connections resume with the newest."""
ALPN = ["http/1.1"]


class TlsError(ValueError):
    """TLS files that cannot be used; the text names the file and says what to do. `key`: which setting it is."""

    def __init__(self, text: str, key: str) -> None:
        super().__init__(text)
        self.key = key


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a PEM file's first certificate says: DNS names and IP addresses, and its Unix time of expiry."""

    names: tuple[str, ...]
    not_after: float

    def expired(self, now: float | None = None) -> bool:
        return self.not_after <= (time.time() if now is None else now)


def read_pem(path: str, key: str = "cert") -> Pem:
    """The file `path`. Raises TlsError."""
    try:
        with open(path, "rb") as file:
            return Pem(path, file.read())
    except OSError as error:
        raise TlsError(f"{path} cannot be read: {error.strerror}", key) from None


def read_certificate(pem: Pem) -> Certificate:
    """The first certificate in `pem`. Raises TlsError."""
    with _as_file(pem) as path:
        try:
            # Not public, but in every CPython since 2.6; the alternative is a DER parser of our own.
            found = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
        except ssl.SSLError:
            raise TlsError(f"{pem} holds no certificate in PEM form", "cert") from None
    names = [value.lower() for kind, value in found.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    if not names:
        names = [value.lower() for part in found["subject"] for kind, value in part if kind == "commonName"]
    return Certificate(tuple(names), float(ssl.cert_time_to_seconds(found["notAfter"])))


@contextmanager
def _as_file(pem: Pem) -> Iterator[str]:
    """A path to read it at, since OpenSSL takes certificates and keys from files alone: of one in memory."""
    fd = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(fd, pem.text)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def server_tls(settings: ListenTlsSettings) -> ssl.SSLContext:
    """For a listener: the first certificate, or by SNI the one whose names fit. Raises TlsError."""
    made = [(_server_side(settings, each), read_certificate(each.cert)) for each in settings.certificates]
    first = made[0][0]
    if len(made) > 1:
        by_name: dict[str, ssl.SSLContext] = {}
        for side, certificate in made:
            for name in certificate.names:
                by_name.setdefault(name, side)
        first.sni_callback = partial(_choose, by_name)
    return first


def _server_side(settings: ListenTlsSettings, certificate: CertificateSettings) -> ssl.SSLContext:
    side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    side.minimum_version = VERSIONS[settings.min_version]
    side.set_ciphers(CIPHERS)
    side.set_alpn_protocols(ALPN)
    side.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    side.num_tickets = TICKETS
    _load_chain(side, certificate.cert, certificate.key)
    if settings.client_ca:
        _load_roots(side, settings.client_ca, "client_ca")
        side.verify_mode = ssl.CERT_REQUIRED
    return side


def _choose(by_name: dict[str, ssl.SSLContext], tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
    if name:
        name = name.lower()
        found = by_name.get(name) or by_name.get("*." + name.partition(".")[2])
        if found is not None:
            tls.context = found


def client_tls(settings: UpstreamTlsSettings) -> ssl.SSLContext:
    """For connections to targets. Raises TlsError."""
    if settings.ca:
        side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load_roots(side, settings.ca, "ca")
    else:
        side = ssl.create_default_context()
    side.minimum_version = ssl.TLSVersion.TLSv1_2
    side.set_alpn_protocols(ALPN)
    if not settings.verify:
        side.check_hostname = False
        side.verify_mode = ssl.CERT_NONE
    if settings.cert:
        _load_chain(side, settings.cert, settings.key or settings.cert)
    return side


def _load_roots(side: ssl.SSLContext, pem: Pem, key: str) -> None:
    with _as_file(pem) as path:
        try:
            side.load_verify_locations(cafile=path)
        except ssl.SSLError:
            raise TlsError(f"{pem} holds no certificates in PEM form", key) from None


def _load_chain(side: ssl.SSLContext, cert: Pem, key: Pem) -> None:
    with _as_file(cert) as cert_path, _as_file(key) as key_path:
        try:
            side.load_cert_chain(cert_path, key_path, password=_no_password(key))
        except ssl.SSLError as error:
            raise _chain_error(error, cert, key) from None


def _no_password(key: Pem) -> Callable[[], str]:
    def ask() -> str:
        raise TlsError(f"{key} is encrypted: decrypt it with `openssl pkey -in {key} -out plain.pem`", "key")

    return ask


def _chain_error(error: ssl.SSLError, cert: Pem, key: Pem) -> TlsError:
    if error.reason == "KEY_VALUES_MISMATCH":
        return TlsError(f"the key {key} does not belong to the certificate {cert}", "key")
    if error.reason in ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
        return TlsError(f"{cert}: the key or signature is too weak: make one of 2048 bits (RSA) or P-256", "cert")
    try:
        read_certificate(cert)
    except TlsError as found:
        return found
    return TlsError(f"{key} holds no private key in PEM form", "key")


_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "CERTIFICATE_VERIFY_FAILED": "bad_certificate",
    "HTTP_REQUEST": "plain_http",
    "UNSUPPORTED_PROTOCOL": "version",
    "VERSION_TOO_LOW": "version",
    "NO_SHARED_CIPHER": "cipher",
}


def handshake_error(error: OSError) -> str:
    """The `reason` label for a failed handshake with a client: a small closed list."""
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if "ALERT" in reason:
            return "client_alert"
        return _REASONS.get(reason, "protocol")
    if isinstance(error, ConnectionAbortedError | TimeoutError):
        return "timeout"
    return "client_closed"
