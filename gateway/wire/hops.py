"""Which fields cross the gateway, and which it writes itself (RFC 9110 section 7.6, RFC 7239).

Removed in both directions: the hop-by-hop fields of the list and those that Connection names, except fields without
which the message would mean something else (a peer must not be able to strip Host or Authorization off a request).
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from gateway.wire.fields import CHUNKED, Fields
from gateway.wire.head import RequestFields, ResponseHead
from gateway.wire.names import NAMES, FieldName

_KEPT_WHATEVER_CONNECTION_SAYS: Final = frozenset("host content-length authorization cookie set-cookie date".split())
_NEVER_IN_TRAILERS: Final = frozenset(
    "transfer-encoding content-length host cache-control expect max-forwards pragma range te authorization"
    " proxy-authorization proxy-authenticate www-authenticate set-cookie cookie content-encoding content-type"
    " content-range trailer connection keep-alive upgrade date expires location age vary".split()
)

_ORDINARY_TOKENS: Final = frozenset({"close", "keep-alive", "upgrade"})
Lines = list[tuple[str, str]]
"""(name, value) in order."""
Networks = tuple[IPv4Network | IPv6Network, ...]


def lines_of(fields: Iterable[tuple[str, str]]) -> str:
    """Fields as they stand in a head."""
    return "".join([f"{name}: {value}\r\n" for name, value in fields])


def request_fields(fields: RequestFields) -> Lines:
    """What of a client's fields goes on to a target, in order and case; without Host, which is written apart."""
    return _not_named(fields, [line for line in fields.lines if (NAMES.get(line[0]) or FieldName(line[0])).to_target])


def max_forwards_line(fields: RequestFields, method: str) -> str:
    """Max-Forwards as it goes on: one less with OPTIONS and TRACE, as it came with others (RFC 9110 7.6.2)."""
    value = fields.index.get("max-forwards")
    if value is None:
        return ""
    if method in ("OPTIONS", "TRACE") and value.isascii() and value.isdecimal() and len(value) <= 9:
        value = str(max(int(value) - 1, 0))
    return f"Max-Forwards: {value}\r\n"


def response_fields(head: ResponseHead) -> Lines:
    """What of an upstream's fields goes on to the client, in order and case."""
    lines = [line for line in head.fields.lines if (NAMES.get(line[0]) or FieldName(line[0])).to_client]
    if head.status == 204 or head.status < 200 or head.length == CHUNKED:
        lines = [line for line in lines if line[0].lower() != "content-length"]
    return _not_named(head.fields, lines)


def _not_named(fields: Fields, lines: Lines) -> Lines:
    """`lines` without the fields that Connection names."""
    named = fields.connection - _ORDINARY_TOKENS
    if not named:
        return lines
    named -= _KEPT_WHATEVER_CONNECTION_SAYS
    return [line for line in lines if line[0].lower() not in named]


def trailer_lines(trailers: Fields | None) -> str:
    """Trailer fields that may be passed on: never framing, routing, or authentication (RFC 9110 6.5.1)."""
    if trailers is None:
        return ""
    return lines_of((name, value) for name, value in trailers.lines if name.lower() not in _NEVER_IN_TRAILERS)


def is_trusted(peer: str, trusted: Networks) -> bool:
    """Whether `peer` (an IP address; empty for a unix socket) is in one of the networks."""
    if not trusted or not peer:
        return False
    address = ip_address(peer)
    return any(address in network for network in trusted)


def client_of(chain: str, peer: str, trusted: Networks) -> str:
    """The client behind trusted proxies: the first address, walking X-Forwarded-For from the right, we do not trust.

    What is not an address ends the walk: nothing left of it can be believed.
    """
    client = peer
    for item in reversed(chain.split(",")):
        candidate = item.strip(" \t")
        try:
            ip_address(candidate)
        except ValueError:
            return client
        client = candidate
        if not is_trusted(candidate, trusted):
            return client
    return client


def forwarded_for(address: str) -> str:
    """`address` as a Forwarded node (RFC 7239 section 6); `unknown` for a unix socket."""
    if not address:
        return "unknown"
    return f'"[{address}]"' if ":" in address else address


def forwarding_lines(
    *, peer: str, client: str, chain: str, scheme: str, host: str, via: str, forwarded: str = ""
) -> str:
    """The forwarding fields for a target, all but X-Request-Id.

    `chain` and `forwarded` are what a trusted proxy sent in X-Forwarded-For and Forwarded, else empty.
    """
    node = forwarded_for(peer)
    host_pair = f';host="{host}"' if host else ""
    element = f"for={node}{host_pair};proto={scheme}"
    seen = peer or "unknown"
    host_line = f"X-Forwarded-Host: {host}\r\n" if host else ""
    return (
        f"X-Forwarded-For: {chain + ', ' if chain else ''}{seen}\r\n"
        f"X-Forwarded-Proto: {scheme}\r\n"
        f"{host_line}"
        f"X-Real-IP: {client or 'unknown'}\r\n"
        f"Forwarded: {forwarded + ', ' if forwarded else ''}{element}\r\n"
        f"Via: {via}\r\n"
    )
