"""Who the client is, and what a target is told of it (RFC 7239; X-Forwarded-*)."""

from gateway.transport.server import ServerConnection
from gateway.wire.head import RequestHead
from gateway.wire.hops import Networks, client_of, forwarding_lines, is_trusted


class ClientFacts:
    """What is known of one client connection; worked out with its first request."""

    __slots__ = ("_host", "_lines", "_trusted_networks", "_via", "peer", "scheme", "trusted")

    def __init__(self, connection: ServerConnection, trusted: Networks, via: str) -> None:
        self.peer = connection.peer or ""
        self.scheme = connection.listener.scheme
        self.trusted = is_trusted(self.peer, trusted)
        """Whether the peer is a proxy that may speak for others."""
        self._trusted_networks = trusted
        self._via = via
        self._host: str | None = None
        self._lines = ""

    def client_ip(self, head: RequestHead) -> str:
        """The client's address: the peer's, or what trusted proxies say."""
        chain = head.fields.get("x-forwarded-for") if self.trusted else None
        return client_of(chain, self.peer, self._trusted_networks) if chain else self.peer

    def client_scheme(self, head: RequestHead) -> str:
        proto = head.fields.get("x-forwarded-proto") if self.trusted else None
        return proto if proto in ("http", "https") else self.scheme

    def lines(self, head: RequestHead) -> str:
        """The forwarding fields of a request; the same for all of a connection that name one host."""
        if self.trusted:
            return self._lines_of_trusted(head)
        if head.authority != self._host:
            self._host = head.authority
            self._lines = forwarding_lines(
                peer=self.peer,
                client=self.peer,
                chain="",
                scheme=self.scheme,
                host=head.authority,
                via=self._via,
            )
        return self._lines

    def _lines_of_trusted(self, head: RequestHead) -> str:
        fields = head.fields
        return forwarding_lines(
            peer=self.peer,
            client=self.client_ip(head),
            chain=fields.get("x-forwarded-for") or "",
            scheme=self.client_scheme(head),
            host=fields.get("x-forwarded-host") or head.authority,
            via=self._via,
            forwarded=fields.get("forwarded") or "",
        )
