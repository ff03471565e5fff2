"""Self-signed certificates for the TLS loads: ECDSA P-256 and RSA-2048."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_OPENSSL = ("openssl", "req", "-x509", "-nodes", "-days", "7", "-subj", "/CN=localhost")


@dataclass(frozen=True, slots=True)
class Pair:
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Certificates:
    ecdsa: Pair
    rsa: Pair


def make_certificates(directory: Path) -> Certificates:
    return Certificates(
        ecdsa=_make(directory, "ecdsa", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        rsa=_make(directory, "rsa", ["rsa:2048"]),
    )


def _make(directory: Path, name: str, key: list[str]) -> Pair:
    pair = Pair(directory / f"{name}.crt", directory / f"{name}.key")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(
        [*_OPENSSL, "-addext", names, "-newkey", *key, "-keyout", str(pair.key), "-out", str(pair.cert)],
        check=True,
        capture_output=True,
    )
    return pair
