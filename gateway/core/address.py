"""Addresses as the config writes them: `host:port`, `[::1]:8080`, `unix:/path`, `fd:3`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """One place to listen on or connect to. Exactly one of (host and port), path, fd is set."""

    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1

    @property
    def is_loopback(self) -> bool:
        return bool(self.path) or self.host in ("localhost", "::1") or self.host.startswith("127.")

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        if self.fd >= 0:
            return f"fd:{self.fd}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_host: str = "0.0.0.0") -> Address:
    """`text` as an Address. Raises ValueError with what to write instead."""
    if text.startswith("unix:"):
        if not text[5:].startswith("/"):
            raise ValueError("a unix socket needs an absolute path, such as unix:/run/gateway.sock")
        return Address(path=text[5:])
    if text.startswith("fd:"):
        if not text[3:].isdecimal():
            raise ValueError("fd: needs the number of an open socket, such as fd:3")
        return Address(fd=int(text[3:]))
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()):
        shown = f"{default_host}:{text}" if text.isdecimal() else f"{text or default_host}:8080"
        raise ValueError(f"an address needs a port, such as {shown}")
    if not 0 <= int(port) <= 65535:
        raise ValueError(f"port {port} is out of range (0 to 65535)")
    if host.startswith("["):
        if not host.endswith("]"):
            raise ValueError("an IPv6 address needs brackets, such as [::1]:8080")
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address needs brackets, such as [::1]:8080")
    return Address(host=host or default_host, port=int(port))
