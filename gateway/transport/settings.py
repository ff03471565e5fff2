"""Settings of the sockets: listeners, client connections, connections to targets. Seconds and bytes."""

from dataclasses import dataclass, field

from gateway.core.address import Address
from gateway.wire.limits import HeadLimits


@dataclass(frozen=True, slots=True)
class Pem:
    """A PEM file as it was when the config was read: all workers use the same, also those that start later.

    False where no file is named.
    """

    path: str = ""
    text: bytes = field(default=b"", repr=False)

    def __bool__(self) -> bool:
        return bool(self.path)

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class CertificateSettings:
    """A certificate chain and its key. With several, the names in the certificate choose (SNI)."""

    cert: Pem
    key: Pem


@dataclass(frozen=True, slots=True)
class ListenTlsSettings:
    certificates: tuple[CertificateSettings, ...]
    client_ca: Pem = Pem()
    """When set, a client must show a certificate that it signed."""
    min_version: str = "1.2"


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """One listening address."""

    address: Address
    tls: ListenTlsSettings | None = None
    backlog: int = 4096
    redirect_https: bool = False
    """Answer every request with a redirect to https."""
    proxy_protocol: bool = False
    """A PROXY header (v1 or v2) is required ahead of TLS and HTTP."""

    @property
    def name(self) -> str:
        """The label in metrics."""
        return str(self.address)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a client connection may cost."""

    head: HeadLimits = HeadLimits()
    body_bytes: int | None = 10 * 1024 * 1024
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    keep_alive_s: float = 75.0


@dataclass(frozen=True, slots=True)
class ConnectionsSettings:
    """Connections to one target, per worker."""

    max: int = 512
    wait_s: float = 1.0
    idle: int = 128
    idle_timeout_s: float = 4.0


@dataclass(frozen=True, slots=True)
class UpstreamTlsSettings:
    """TLS towards a target. What is empty means: the system's roots, no client certificate, the target's name."""

    ca: Pem = Pem()
    verify: bool = True
    server_name: str = ""
    cert: Pem = Pem()
    key: Pem = Pem()
