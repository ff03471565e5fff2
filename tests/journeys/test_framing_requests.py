"""Requests that smuggle, split or desynchronise, through the real gateway: refused, and nothing of them goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bad_requests import REFUSED_REQUESTS, TAKEN_REQUESTS
from tests.support.corpus import HOST, Refused, Taken, request
from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.raw import Raw, talk
from tests.support.upstream import Upstream

BEHIND = b"GET /behind HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
CLOSING = b"GET /closing HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def target() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(target: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = f"""
upstreams: {{u: "{target.url}"}}
routes:
  - {{name: all, match: "/*", to: u}}
  - {{name: streamed, match: "/streamed", to: u, buffer: {{request: 0B}}}}
"""
    with Gateway(config, Path(tmp_path_factory.mktemp("gateway"))) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _nothing_recorded(target: Upstream) -> None:
    target.requests.clear()


def _refused(gateway: Gateway, target: Upstream, row: Refused, *pieces: bytes) -> None:
    connections = target.connections
    (answer,) = talk(gateway.port, *pieces)
    assert answer.status in row.statuses
    assert answer.get("connection") == "close"
    assert answer.get("content-type") == "application/problem+json"
    assert answer.reason is not None
    assert target.requests == []
    assert target.connections == connections, "no upstream was engaged"


@pytest.mark.parametrize("row", REFUSED_REQUESTS, ids=str)
def test_refused_and_nothing_behind_it_is_read(gateway: Gateway, target: Upstream, row: Refused) -> None:
    _refused(gateway, target, row, row.data + BEHIND)


@pytest.mark.parametrize("row", REFUSED_REQUESTS[::7], ids=str)
def test_refused_in_two_segments(gateway: Gateway, target: Upstream, row: Refused) -> None:
    at = len(row.data) // 2
    _refused(gateway, target, row, row.data[:at], row.data[at:] + BEHIND)


@pytest.mark.parametrize("row", TAKEN_REQUESTS, ids=str)
def test_taken_and_the_next_is_in_step(gateway: Gateway, target: Upstream, row: Taken) -> None:
    answers = talk(gateway.port, row.data + CLOSING)
    bodies = [(each.line.split()[1], _decoded(each.body)) for each in target.requests]
    if b"HTTP/1.0" in row.data:
        assert (len(answers), bodies) == (1, [(b"/x", row.body)])
    else:
        assert (len(answers), bodies) == (2, [(b"/x", row.body), (b"/closing", b"")])


def _decoded(raw: bytes) -> bytes:
    """The body behind its chunk lines, if it came in chunks."""
    body = b""
    if not raw.endswith(b"0\r\n\r\n"):
        return raw
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        body += raw[: int(size, 16)]
        raw = raw[int(size, 16) + 2 :]
    return body


CLASSICS = {
    "CL.TE": request(
        b"Content-Length: 13", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nSMUGGLED" + b"GET /evil HTTP/1.1\r\n"
    ),
    "TE.CL": request(
        b"Transfer-Encoding: chunked",
        b"Content-Length: 4",
        body=b"5c\r\nGET /evil HTTP/1.1\r\nX: y\r\n\r\n\r\n0\r\n\r\n",
    ),
    "TE.TE": request(
        b"Transfer-Encoding: chunked", b"Transfer-encoding: cow", body=b"0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"
    ),
    "CL.CL": request(b"Content-Length: 0", b"Content-Length: 40", body=b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"),
    "header line as body": b"GET /x HTTP/1.1\r\n"
    + HOST
    + b"\r\nContent-Length: 5\r\nX: a\rGET /evil HTTP/1.1\r\n\r\nhello",
    "chunk extension": request(
        b"Transfer-Encoding: chunked", body=b"1;\nxx\r\n4c\r\n0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n0\r\n\r\n"
    ),
    "chunk size overflow": request(
        b"Transfer-Encoding: chunked", body=b"10000000000000005\r\nhello\r\n0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"
    ),
}


@pytest.mark.parametrize("name", CLASSICS)
def test_the_classics(gateway: Gateway, target: Upstream, name: str) -> None:
    _refused(gateway, target, Refused(name, CLASSICS[name], frozenset({400, 501})), CLASSICS[name] + BEHIND)
    assert b"evil" not in b"".join(each.head for each in target.requests)


def test_an_absolute_target_decides_the_host(gateway: Gateway, target: Upstream) -> None:
    data = b"GET http://real.test:81/x?y HTTP/1.1\r\nHost: fake.test\r\nConnection: close\r\n\r\n"
    assert [each.status for each in talk(gateway.port, data)] == [200]
    (seen,) = target.requests
    assert seen.line == b"GET /x?y HTTP/1.1"
    assert seen.fields("host") == ["real.test:81"]
    assert seen.fields("x-forwarded-host") == ["real.test:81"]


def test_options_asterisk_is_answered_here(gateway: Gateway, target: Upstream) -> None:
    (answer,) = talk(gateway.port, b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.status == 204
    assert "GET" in (answer.get("allow") or "")
    assert target.requests == []


def test_trace_is_refused(gateway: Gateway, target: Upstream) -> None:
    (answer,) = talk(gateway.port, b"TRACE /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: secret\r\n\r\n")
    assert (answer.status, answer.reason) == (405, "method_not_allowed")
    assert b"secret" not in answer.body
    assert target.requests == []


@pytest.mark.parametrize("mark", [b"\r", b"\n", b"\r\n", b"\x00"])
def test_no_answer_of_ours_carries_what_would_split_it(gateway: Gateway, mark: bytes) -> None:
    data = b"GET /a" + mark + b"Set-Cookie:evil=1 HTTP/1.1\r\nHost: a\r\nX-Request-Id: x" + mark + b"y\r\n\r\n"
    (answer,) = talk(gateway.port, data)
    assert answer.status == 400
    assert answer.all("set-cookie") == []


# --- while the upstream is engaged already --------------------------------------------------------------------------


def _streamed(*lines: bytes, body: bytes) -> bytes:
    return request(*lines, line=b"POST /streamed HTTP/1.1", body=body)


@pytest.mark.parametrize(
    "broken", [b"x\r\n", b"5\nhello", b"5\r\nhelloX", b"-1\r\n", b"0\r\nX: \x00\r\n\r\n", b"0\r\nX : y\r\n\r\n"]
)
def test_a_body_that_breaks_its_framing_midway_never_ends_for_the_upstream(
    gateway: Gateway, target: Upstream, broken: bytes
) -> None:
    with Raw(gateway.port) as raw:
        raw.send(_streamed(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"))
        raw.send(broken + BEHIND)
        answer = raw.answer()
        assert (answer.status, answer.reason, answer.get("connection")) == (400, "bad_request", "close")
        assert raw.rest() == b""
    assert target.requests == [], "it saw no whole request"


def test_a_body_that_ends_early_never_ends_for_the_upstream(gateway: Gateway, target: Upstream) -> None:
    connections = target.connections
    with Raw(gateway.port) as raw:
        raw.send(_streamed(b"Content-Length: 10", body=b"hello"))
    answer = _ok(gateway)
    assert answer.status == 200
    assert [each.line for each in target.requests] == [b"GET /closing HTTP/1.1"]
    assert target.connections > connections


def _ok(gateway: Gateway) -> Answer:
    (answer,) = talk(gateway.port, CLOSING)
    return answer
