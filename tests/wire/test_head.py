"""Start lines, Host, and which rule bounds a body (RFC 9112 sections 2 to 6)."""

import pytest

from gateway.core.errors import GatewayError
from gateway.wire.fields import CHUNKED, UNTIL_CLOSE
from gateway.wire.head import RequestFields, RequestHead, ResponseHead, parse_authority
from gateway.wire.limits import HeadLimits
from tests.support.bad_answers import REFUSED_ANSWER_HEADS
from tests.support.corpus import CODINGS, Refused

LIMITS = HeadLimits()


def _head(line: str, *fields: str, host: str = "a.test") -> RequestHead:
    section = "".join(f"{field}\r\n" for field in ([f"Host: {host}"] if host else []) + list(fields)) + "\r\n"
    return RequestHead(line, RequestFields(section, LIMITS))


def _status(line: str, *fields: str, host: str = "a.test") -> int:
    with pytest.raises(GatewayError) as caught:
        _head(line, *fields, host=host)
    return caught.value.status


def _answer(*fields: str, line: str = "HTTP/1.1 200 OK") -> ResponseHead:
    return ResponseHead("\r\n".join([line, *fields, "", ""]), LIMITS)


def test_a_request_line() -> None:
    head = _head("PATCH /a/b?c=d?e HTTP/1.1")
    assert (head.method, head.path, head.query, head.version) == ("PATCH", "/a/b", "c=d?e", "HTTP/1.1")
    assert (head.host, head.authority) == ("a.test", "a.test")


@pytest.mark.parametrize(("target", "query"), [("/", None), ("/?", ""), ("/??", "?"), ("/?a", "a")])
def test_the_query_is_what_stands_behind_the_first_mark(target: str, query: str | None) -> None:
    assert _head(f"GET {target} HTTP/1.1").query == query


@pytest.mark.parametrize("method", ["GET", "M-SEARCH", "X1", "!#$%&'*+-.^_`|~"])
def test_methods_that_pass(method: str) -> None:
    assert _head(f"{method} / HTTP/1.1").method == method


@pytest.mark.parametrize("version", ["1.2", "2.0", "0.9", "3.0", "9.9", "10.1", "1.10"])
def test_other_versions_are_505(version: str) -> None:
    assert _status(f"GET / HTTP/{version}") == 505


@pytest.mark.parametrize("code", [*range(0x21), *range(0x7F, 0x100)])
def test_a_target_is_printable_ascii(code: int) -> None:
    assert _status(f"GET /a{chr(code)}b HTTP/1.1") == 400


@pytest.mark.parametrize("code", [*range(0x21), *range(0x7F, 0x100), *b'"(),/:;<=>?@[\\]{}'])
def test_a_method_is_an_upper_case_token(code: int) -> None:
    assert _status(f"G{chr(code)}T / HTTP/1.1") == 400


def test_an_absolute_target_wins_over_host() -> None:
    head = _head("GET hTTp://B.test:81/p?q HTTP/1.1")
    assert (head.host, head.authority, head.path, head.query) == ("b.test", "B.test:81", "/p", "q")


@pytest.mark.parametrize(("target", "path", "query"), [("http://b", "/", None), ("https://b?q", "/", "q")])
def test_an_absolute_target_without_a_path(target: str, path: str, query: str | None) -> None:
    head = _head(f"GET {target} HTTP/1.1")
    assert (head.host, head.path, head.query) == ("b", path, query)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("CONNECT a.test:443 HTTP/1.1", 501),
        ("CONNECT / HTTP/1.1", 501),
        ("CONNECT http://a.test/ HTTP/1.1", 501),
        ("CONNECT * HTTP/1.1", 501),
        ("GET * HTTP/1.1", 405),
        ("GET a HTTP/1.1", 400),
        ("GET ftp://a/ HTTP/1.1", 400),
        ("GET http://u@a/ HTTP/1.1", 400),
        ("GET http://a/#f HTTP/1.1", 400),
        ("GET /#f HTTP/1.1", 400),
        ("GET /?#f HTTP/1.1", 400),
    ],
)
def test_forms_of_the_target_that_are_refused(line: str, status: int) -> None:
    assert _status(line) == status


def test_the_asterisk_is_for_options() -> None:
    assert _head("OPTIONS * HTTP/1.1").path == "*"


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("a.test", "a.test"),
        ("A.Test:80", "a.test"),
        ("127.0.0.1:8080", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[::FFFF:1.2.3.4]:65535", "[::ffff:1.2.3.4]"),
        ("a_b-c~d", "a_b-c~d"),
    ],
)
def test_hosts(value: str, host: str) -> None:
    assert parse_authority(value) == (host, value)


def test_http_1_0_needs_no_host_and_1_1_does() -> None:
    assert _head("GET / HTTP/1.0", host="").authority == ""
    assert _status("GET / HTTP/1.1", host="") == 400


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        ("1.1", "", True),
        ("1.1", "close", False),
        ("1.1", "Close, x", False),
        ("1.1", "keep-alive, close", False),
        ("1.0", "", False),
        ("1.0", "Keep-Alive", True),
        ("1.0", "keep-alive, close", False),
    ],
)
def test_keep_alive(version: str, connection: str, kept: bool) -> None:
    fields = [f"Connection: {connection}"] if connection else []
    assert _head(f"GET / HTTP/{version}", *fields).keep_alive is kept
    assert _answer(*fields, line=f"HTTP/{version} 200 OK").keep_alive is kept


def test_the_body_of_a_request() -> None:
    assert _head("GET / HTTP/1.1").fields.length == 0
    assert _head("GET / HTTP/1.1", "Content-Length: 7").fields.length == 7
    assert _head("GET / HTTP/1.1", "Transfer-Encoding: cHUNKED").fields.length == CHUNKED


@pytest.mark.parametrize("coding", [raw.decode("latin-1") for raw in CODINGS], ids=ascii)
def test_a_coding_other_than_one_chunked(coding: str) -> None:
    assert _status("POST / HTTP/1.1", f"Transfer-Encoding: {coding}") in (400, 501)
    with pytest.raises(GatewayError, match="upstream_protocol"):
        _answer(f"Transfer-Encoding: {coding}")


def test_a_coding_in_http_1_0() -> None:
    assert _status("POST / HTTP/1.0", "Transfer-Encoding: chunked") == 400
    with pytest.raises(GatewayError, match="upstream_protocol"):
        _answer("Transfer-Encoding: chunked", line="HTTP/1.0 200 OK")


def test_an_upgrade_counts_only_where_connection_names_it() -> None:
    assert _head("GET / HTTP/1.1", "Upgrade: websocket").fields.upgrade is None
    assert _head("GET / HTTP/1.1", "Upgrade: websocket", "Connection: x, Upgrade").fields.upgrade == "websocket"


def test_trailers_are_wanted_where_te_says_so() -> None:
    assert not _head("GET / HTTP/1.1").fields.wants_trailers
    assert not _head("GET / HTTP/1.1", "TE: gzip").fields.wants_trailers
    assert _head("GET / HTTP/1.1", "TE: gzip, Trailers").fields.wants_trailers


@pytest.mark.parametrize("row", REFUSED_ANSWER_HEADS, ids=str)
def test_answer_heads_that_are_refused(row: Refused) -> None:
    head, end, _ = row.data.partition(b"\r\n\r\n")
    if end and b"\n" not in head.replace(b"\r\n", b""):
        limits = HeadLimits(header_count=256, headers_bytes=64 * 1024)
        with pytest.raises(GatewayError, match="upstream_protocol"):
            ResponseHead((head + end).decode("latin-1"), limits)
    else:
        assert b"\n" in row.data.replace(b"\r\n", b""), "a head that never ends is refused by the connection"


@pytest.mark.parametrize(
    ("fields", "length"), [(["Content-Length: 7"], 7), (["Transfer-Encoding: chunked"], CHUNKED), ([], UNTIL_CLOSE)]
)
def test_the_body_of_an_answer(fields: list[str], length: int) -> None:
    head = _answer(*fields)
    assert (head.length, head.bodiless) == (length, False)


@pytest.mark.parametrize(
    ("status", "bodiless"), [(100, True), (199, True), (200, False), (204, True), (205, False), (304, True)]
)
def test_which_answers_have_no_body(status: int, bodiless: bool) -> None:
    assert _answer("Content-Length: 7", line=f"HTTP/1.1 {status} X").bodiless is bodiless


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("timeout=5", 4.0),
        ("max=7, Timeout=5", 4.0),
        ("timeout=1", 0.0),
        ("timeout=999999", 3600.0),
        ("timeout=-5", None),
        ("max=5", None),
    ],
)
def test_how_long_an_upstream_keeps_a_connection(value: str, seconds: float | None) -> None:
    assert _answer(f"Keep-Alive: {value}").idle_timeout_s == seconds
