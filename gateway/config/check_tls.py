"""Checks of certificate files: they are there, they can be read, key and certificate belong together."""

import ssl
from pathlib import Path

from gateway.config.build import resolve
from gateway.config.check import Checked
from gateway.config.lines import KeyPath
from gateway.config.types import reason


def check_certificates(checked: Checked, directory: Path) -> None:
    """Every file of every `tls:`; a file that several name is reported once for each."""
    listeners = checked.config.listen
    for index, listen in enumerate(listeners):
        path: KeyPath = (
            ("listen", index, "tls") if len(listeners) > 1 or _is_list(checked, ("listen",)) else ("listen", "tls")
        )
        for number, tls in enumerate(listen.tls):
            place = (*path, number) if _is_list(checked, path) else path
            _check_pair(checked, place, tls.cert, tls.key, directory)
            _check_ca(checked, (*place, "client_ca"), tls.client_ca, directory)
    seen: set[tuple[str, str, str]] = set()
    for name, upstream in checked.config.upstreams.items():
        settings = upstream.tls
        files = (settings.ca, settings.cert, settings.key)
        if files in seen:
            continue
        seen.add(files)
        own = "tls" in upstream.model_fields_set
        path = ("upstreams", name, "tls") if own else ("defaults", "upstream", "tls")
        _check_ca(checked, (*path, "ca"), settings.ca, directory)
        if bool(settings.cert) != bool(settings.key):
            checked.fault(path, "cert and key go together", f"add `{'key' if settings.cert else 'cert'}`")
        elif settings.cert:
            _check_pair(checked, path, settings.cert, settings.key, directory)


def _is_list(checked: Checked, path: KeyPath) -> bool:
    value: object = checked.root
    for part in path:
        if isinstance(value, dict):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
    return isinstance(value, list)


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
        checked.fault((*path, *_blamed(error)), _explained(error, cert_path, key_path))
    except OSError as error:
        checked.fault((*path, "cert"), f"cannot read {cert_path}: {reason(error)}")


def _blamed(error: ssl.SSLError) -> tuple[str]:
    return ("key",) if error.reason in ("KEY_VALUES_MISMATCH", "BAD_DECRYPT", "KEY_TYPE_MISMATCH") else ("cert",)


def _explained(error: ssl.SSLError, cert: str, key: str) -> str:
    if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return f"{key} is not the key of the certificate {cert}"
    if "ENCRYPTED" in _text(key):
        return f"{key} has a passphrase, which nobody could type in; store it without"
    return f"{cert} and {key} cannot be used: {(error.reason or 'not PEM').lower().replace('_', ' ')}"


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
