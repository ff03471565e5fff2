"""What crosses the gateway, what it writes itself, and whom it believes (RFC 9110 7.6, RFC 7239)."""

from ipaddress import ip_network

import pytest

from gateway.wire.fields import Fields
from gateway.wire.head import RequestFields, ResponseHead
from gateway.wire.hops import (
    client_of,
    forwarded_for,
    forwarding_lines,
    is_trusted,
    lines_of,
    max_forwards_line,
    request_fields,
    response_fields,
    trailer_lines,
)
from gateway.wire.limits import HeadLimits

LIMITS = HeadLimits()
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def _request(*lines: str) -> list[str]:
    section = "".join(f"{line}\r\n" for line in ("Host: a", *lines)) + "\r\n"
    return [f"{name}: {value}" for name, value in request_fields(RequestFields(section, LIMITS))]


def _answer(*lines: str, line: str = "HTTP/1.1 200 OK") -> list[str]:
    head = ResponseHead("\r\n".join([line, *lines, "", ""]), LIMITS)
    return [f"{name}: {value}" for name, value in response_fields(head)]


def _trailers(*lines: str) -> str:
    return trailer_lines(Fields("".join(f"{line}\r\n" for line in lines) + "\r\n", LIMITS))


HOP_BY_HOP = [
    "Connection: keep-alive",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "Proxy-Authenticate: Basic",
    "Proxy-Authorization: Basic eDp5",
    "TE: trailers",
    "Trailer: X-Sum",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAAQAAP__",
]


@pytest.mark.parametrize("line", HOP_BY_HOP)
def test_hop_by_hop_fields_stay_here(line: str) -> None:
    assert _request("X: 1", line, "Y: 2") == ["X: 1", "Y: 2"]
    assert _answer("X: 1", line, "Y: 2") == ["X: 1", "Y: 2"]


def test_fields_named_in_connection_stay_here() -> None:
    assert _request("X-A: 1", "Connection: x-a, X-B", "X-B: 2", "X-C: 3") == ["X-C: 3"]
    assert _answer("X-A: 1", "Connection: x-a", "Connection: X-B", "X-B: 2", "X-C: 3") == ["X-C: 3"]


def test_connection_cannot_take_away_what_gives_a_message_its_meaning() -> None:
    kept = ["Content-Length: 0", "Authorization: Bearer x", "Cookie: a=b"]
    assert _request("Connection: Host, Content-Length, Authorization, Cookie, X-Forwarded-For", *kept) == kept
    answered = ["Content-Length: 0", "Set-Cookie: a=b", "Date: x"]
    assert _answer("Connection: content-length, set-cookie, date", *answered) == answered


@pytest.mark.parametrize(
    "line",
    [
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: https",
        "x-forwarded-host: evil",
        "X-Forwarded-Port: 1",
        "X-Forwarded-Anything: 1",
        "Forwarded: for=1.2.3.4",
        "X-Real-IP: 1.2.3.4",
        "X-Request-Id: mine",
        "X-Gateway-Reason: none",
        "X-Request-Timeout-Ms: 1",
        "Expect: 100-continue",
    ],
)
def test_what_the_gateway_says_itself_is_not_taken_from_clients(line: str) -> None:
    assert _request("X: 1", line) == ["X: 1"]


def test_order_case_and_duplicates_cross() -> None:
    lines = ["b: 1", "A: 2", "B: 3", "Via: 1.0 x"]
    assert _request(*lines) == lines
    answered = ["set-cookie: a=b", "X: 1", "Set-Cookie: c=d"]
    assert _answer(*answered) == answered


def test_the_framing_of_an_answer_is_written_anew() -> None:
    assert _answer("Transfer-Encoding: chunked", "X: 1") == ["X: 1"]
    assert _answer("Content-Length: 5", line="HTTP/1.1 204 X") == []
    assert _answer("Content-Length: 5", line="HTTP/1.1 103 X") == []
    assert _answer("Content-Length: 5", line="HTTP/1.1 304 X") == ["Content-Length: 5"]


def test_trailers_never_frame_route_or_authenticate() -> None:
    bad = ["Transfer-Encoding: chunked", "Content-Length: 1", "Host: a", "Authorization: x", "Set-Cookie: a=b", "TE: x"]
    assert _trailers("X-Sum: 1", *bad, "Server-Timing: a") == "X-Sum: 1\r\nServer-Timing: a\r\n"
    assert trailer_lines(None) == ""


@pytest.mark.parametrize(
    ("method", "value", "line"),
    [
        ("OPTIONS", "3", "Max-Forwards: 2\r\n"),
        ("TRACE", "1", "Max-Forwards: 0\r\n"),
        ("OPTIONS", "0", "Max-Forwards: 0\r\n"),
        ("OPTIONS", "x", "Max-Forwards: x\r\n"),
        ("OPTIONS", "9" * 5000, f"Max-Forwards: {'9' * 5000}\r\n"),
        ("GET", "3", "Max-Forwards: 3\r\n"),
    ],
)
def test_hops_are_counted_for_options_and_trace(method: str, value: str, line: str) -> None:
    fields = RequestFields(f"Host: a\r\nMax-Forwards: {value}\r\n\r\n", LIMITS)
    assert max_forwards_line(fields, method) == line
    assert _request(f"Max-Forwards: {value}") == []
    assert max_forwards_line(RequestFields("Host: a\r\n\r\n", LIMITS), method) == ""


def test_lines() -> None:
    assert lines_of([("A", "1"), ("b", "")]) == "A: 1\r\nb: \r\n"


@pytest.mark.parametrize(
    ("peer", "trusted"), [("10.1.2.3", True), ("11.1.2.3", False), ("fd00::1", True), ("fe80::1", False), ("", False)]
)
def test_whom_to_trust(peer: str, trusted: bool) -> None:
    assert is_trusted(peer, TRUSTED) is trusted
    assert not is_trusted(peer, ())


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("6.6.6.6, 1.2.3.4, 10.9.9.9", "1.2.3.4"),
        ("10.1.1.1, 10.9.9.9", "10.1.1.1"),
        ("evil, 10.9.9.9", "10.9.9.9"),
        ("1.2.3.4, evil", "10.0.0.1"),
        ("1.2.3.4:80", "10.0.0.1"),
        ("2001:db8::1, fd00::7", "2001:db8::1"),
        ("unknown", "10.0.0.1"),
        ("1.2.3.4,", "10.0.0.1"),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_not_ours(chain: str, client: str) -> None:
    assert client_of(chain, "10.0.0.1", TRUSTED) == client


@pytest.mark.parametrize(("address", "node"), [("1.2.3.4", "1.2.3.4"), ("::1", '"[::1]"'), ("", "unknown")])
def test_nodes(address: str, node: str) -> None:
    assert forwarded_for(address) == node


def test_forwarding_lines_of_a_stranger() -> None:
    lines = forwarding_lines(peer="1.2.3.4", client="1.2.3.4", chain="", scheme="http", host="a:8080", via="1.1 g")
    assert lines.splitlines() == [
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: a:8080",
        "X-Real-IP: 1.2.3.4",
        'Forwarded: for=1.2.3.4;host="a:8080";proto=http',
        "Via: 1.1 g",
    ]


def test_forwarding_lines_of_a_trusted_proxy() -> None:
    lines = forwarding_lines(
        peer="::1", client="6.6.6.6", chain="6.6.6.6", scheme="https", host="a", via="1.1 g", forwarded="for=6.6.6.6"
    )
    assert lines.splitlines() == [
        "X-Forwarded-For: 6.6.6.6, ::1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: a",
        "X-Real-IP: 6.6.6.6",
        'Forwarded: for=6.6.6.6, for="[::1]";host="a";proto=https',
        "Via: 1.1 g",
    ]


def test_forwarding_lines_of_a_unix_socket_and_http_1_0_without_host() -> None:
    lines = forwarding_lines(peer="", client="", chain="", scheme="http", host="", via="1.1 g")
    assert lines.splitlines() == [
        "X-Forwarded-For: unknown",
        "X-Forwarded-Proto: http",
        "X-Real-IP: unknown",
        "Forwarded: for=unknown;proto=http",
        "Via: 1.1 g",
    ]
