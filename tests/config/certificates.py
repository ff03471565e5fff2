"""Certificates for tests that load configs with TLS."""

from pathlib import Path

import trustme


def issue(directory: Path, *names: str) -> None:
    """`<name>.pem` and `<name>.key` for each name, and their `ca.pem`."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    for name in names:
        issued = authority.issue_cert(f"{name}.example")
        issued.private_key_pem.write_to_path(str(directory / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(directory / f"{name}.pem"))
