"""Checks of certificate files: they are there, they can be read, key and certificate belong together."""

import ssl
from pathlib import Path

from gateway.config.build import resolve
from gateway.config.check import Checked
from gateway.config.lines import KeyPath
from gateway.config.model_upstream import Upstream
from gateway.config.types import reason


def check_certificates(checked: Checked, directory: Path) -> None:
    """Every file of every `tls:`; a file that several name is reported once for each."""
    for index, listen in enumerate(checked.config.listen):
        for number, tls in enumerate(listen.tls):
            path: KeyPath = ("listen", index, "tls", number)
            _check_pair(checked, path, tls.cert, tls.key, directory)
            _check_ca(checked, (*path, "client_ca"), tls.client_ca, directory)
    seen: set[tuple[KeyPath, str, str]] = set()
    for name, upstream in checked.config.upstreams.items():
        _check_upstream(checked, name, upstream, directory, seen)


def _check_upstream(
    checked: Checked, name: str, upstream: Upstream, directory: Path, seen: set[tuple[KeyPath, str, str]]
) -> None:
    """Files that come from `defaults` are reported there, and once."""
    tls = upstream.tls
    own = tls.model_fields_set if "tls" in upstream.model_fields_set else ()

    def path(*keys: str) -> KeyPath:
        return ("upstreams", name, "tls") if set(keys) & set(own) else ("defaults", "upstream", "tls")

    ca, pair = (path("ca"), tls.ca, ""), (path("cert", "key"), tls.cert, tls.key)
    if ca not in seen:
        _check_ca(checked, (*ca[0], "ca"), tls.ca, directory)
    if pair not in seen and bool(tls.cert) != bool(tls.key):
        checked.fault(pair[0], "cert and key go together", f"add `{'key' if tls.cert else 'cert'}`")
    elif pair not in seen and tls.cert:
        _check_pair(checked, pair[0], tls.cert, tls.key, directory)
    seen |= {ca, pair}


def _check_pair(checked: Checked, path: KeyPath, cert: str, key: str, directory: Path) -> None:
    cert_path, key_path = resolve(cert, directory), resolve(key, directory)
    readable = [_readable(checked, (*path, name), file) for name, file in (("cert", cert_path), ("key", key_path))]
    if not all(readable):
        return
    if "-----BEGIN CERTIFICATE-----" not in _text(cert_path):
        checked.fault((*path, "cert"), f"{cert_path} has no certificate in PEM form")
        return
    if "PRIVATE KEY-----" not in _text(key_path):
        checked.fault((*path, "key"), f"{key_path} has no private key in PEM form")
        return
    try:
        # An empty password makes OpenSSL fail for an encrypted key where it would ask at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_path, key_path, password="")
    except ssl.SSLError as error:
        blamed, why = _explained(error, cert_path, key_path)
        checked.fault((*path, blamed), why)


def _explained(error: ssl.SSLError, cert: str, key: str) -> tuple[str, str]:
    """Which of the two is at fault, and how."""
    if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return "key", f"{key} is not the key of the certificate {cert}"
    if "ENCRYPTED" in _text(key):
        return "key", f"{key} has a passphrase, which nobody could type in; store it without"
    return "cert", f"{cert} and {key} cannot be used: {(error.reason or 'not PEM').lower().replace('_', ' ')}"


def _check_ca(checked: Checked, path: KeyPath, ca: str, directory: Path) -> None:
    file = resolve(ca, directory)
    if not file or not _readable(checked, path, file):
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except (ssl.SSLError, OSError):
        checked.fault(path, f"{file} has no certificates in PEM form")


def _readable(checked: Checked, path: KeyPath, file: str) -> bool:
    try:
        with open(file, "rb") as handle:
            handle.read(1)
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "not the path of a file"
        checked.fault(path, f"cannot read {file}: {why}")
        return False
    return True


def _text(file: str) -> str:
    return Path(file).read_text("latin-1")
