"""Answers that split, truncate or desynchronise, through the real gateway: a 502 or a cut, and nobody else's bytes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bad_answers import BROKEN_ANSWER_BODIES, REFUSED_ANSWER_HEADS, TAKEN_ANSWERS
from tests.support.corpus import Refused, Taken, answer
from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.raw import Raw
from tests.support.upstream import Upstream, Wire
from tests.support.wait import until

GOOD = answer(b"Content-Length: 4", body=b"good")
EVIL = answer(b"Content-Length: 4", body=b"evil")


class Table:
    """An upstream script: `GET /<number>` is answered with that row, anything else with GOOD. Connections stay open."""

    def __init__(self) -> None:
        self.rows: list[list[bytes]] = []
        self.closed = 0
        """Connections that the gateway closed."""

    def add(self, *pieces: bytes) -> str:
        """The path whose answer is `pieces`, a moment between them."""
        self.rows.append(list(pieces))
        return f"/{len(self.rows) - 1}"

    async def __call__(self, wire: Wire) -> None:
        try:
            await self._converse(wire)
        except EOFError:
            self.closed += 1

    async def _converse(self, wire: Wire) -> None:
        while True:
            recorded = await wire.request()
            path = recorded.line.split()[1][1:]
            if not path.isdigit():
                await wire.send(GOOD)
                continue
            for number, piece in enumerate(self.rows[int(path)]):
                if number:
                    await asyncio.sleep(0.02)  # so that the pieces come apart
                if piece == b"FIN":
                    return
                if piece == b"RST":
                    wire.reset()
                    return
                await wire.send(piece)


@pytest.fixture(scope="module")
def table() -> Table:
    return Table()


@pytest.fixture(scope="module")
def target(table: Table) -> Iterator[Upstream]:
    with Upstream(table) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(target: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = f"""
upstreams: {{u: {{targets: ["{target.url}"], timeout: 5s}}}}
routes: [{{name: all, match: "/*", to: u}}]
"""
    with Gateway(config, Path(tmp_path_factory.mktemp("gateway"))) as gateway:
        yield gateway


def _get(raw: Raw, path: str, method: str = "GET", *lines: str) -> Answer:
    fields = "".join(f"{line}\r\n" for line in lines)
    raw.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
    found = raw.answer(method)
    while found.status < 200:
        found = raw.answer(method)
    return found


def _in_step(raw: Raw) -> None:
    """The next requests of this client, and of another, get their own answers."""
    for _ in range(3):
        assert _get(raw, "/good").body == b"good"


@pytest.mark.parametrize("row", REFUSED_ANSWER_HEADS, ids=str)
def test_a_bad_head_is_a_502(gateway: Gateway, table: Table, row: Refused) -> None:
    with Raw(gateway.port) as raw:
        found = _get(raw, table.add(row.data + EVIL))
        assert (found.status, found.reason) == (502, "upstream_protocol")
        assert b"evil" not in found.body
        _in_step(raw)


@pytest.mark.parametrize("row", BROKEN_ANSWER_BODIES, ids=str)
def test_a_broken_body_is_a_502_or_cut(gateway: Gateway, table: Table, row: Refused) -> None:
    head, _, body = row.data.partition(b"\r\n\r\n")
    with Raw(gateway.port) as raw:
        found = _get(raw, table.add(row.data + EVIL))
        assert (found.status, found.reason) == (502, "upstream_protocol")
        _in_step(raw)
    with Raw(gateway.port) as raw:
        found = _get(raw, table.add(head + b"\r\n\r\n1\r\na\r\n", body + EVIL))
        assert (found.status, found.whole) == (200, False)
        assert raw.ended
        assert b"evil" not in found.body


@pytest.mark.parametrize("row", TAKEN_ANSWERS, ids=str)
def test_taken_and_the_next_is_in_step(gateway: Gateway, table: Table, row: Taken) -> None:
    with Raw(gateway.port) as raw:
        assert _get(raw, table.add(row.data)).body == row.body
        _in_step(raw)
        at = len(row.data) // 2
        assert _get(raw, table.add(row.data[:at], row.data[at:])).body == row.body
        _in_step(raw)


@pytest.mark.parametrize("row", TAKEN_ANSWERS, ids=str)
@pytest.mark.parametrize("pieces", ["at once", "a moment later"])
def test_an_unasked_second_answer_is_nobodys(gateway: Gateway, table: Table, row: Taken, pieces: str) -> None:
    sent = [row.data + EVIL] if pieces == "at once" else [row.data, EVIL]
    with Raw(gateway.port) as raw, Raw(gateway.port) as other:
        closed = table.closed
        assert _get(raw, table.add(*sent)).body == row.body
        until(lambda: table.closed > closed, what="the gateway closed the connection")
        _in_step(raw)
        _in_step(other)


@pytest.mark.parametrize(
    "data",
    [
        answer(b"Content-Length: 4", body=b"evil"),
        answer(b"Transfer-Encoding: chunked", body=b"4\r\nevil\r\n0\r\n\r\n"),
        answer(body=b"evil"),
    ],
)
@pytest.mark.parametrize("kind", ["HEAD", "204", "304"])
def test_bodies_that_must_not_be_are_nobodys(gateway: Gateway, table: Table, data: bytes, kind: str) -> None:
    if kind != "HEAD":
        data = data.replace(b"200 OK", kind.encode() + b" X")
    with Raw(gateway.port) as raw:
        found = _get(raw, table.add(data), "HEAD" if kind == "HEAD" else "GET")
        assert (found.status, found.body) == (200 if kind == "HEAD" else int(kind), b"")
        _in_step(raw)


@pytest.mark.parametrize("end", [b"FIN", b"RST"])
@pytest.mark.parametrize(
    ("line", "framing"),
    [
        (b"HTTP/1.1 200 OK", b"Content-Length: 100"),
        (b"HTTP/1.0 200 OK", b"Content-Length: 100"),
        (b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked"),
    ],
)
def test_a_truncated_body_is_cut(gateway: Gateway, table: Table, line: bytes, framing: bytes, end: bytes) -> None:
    path = table.add(answer(framing, line=line, body=b"5\r\nabcde\r\n"), end)
    with Raw(gateway.port) as raw:
        found = _get(raw, path)
        assert (found.status, found.whole) == (200, False)
        assert raw.ended
    logged = until(lambda: [each for each in gateway.access_log() if each["path"] == path])
    assert [(each["status"], each["reason"], each["attempts"]) for each in logged] == [(200, "upstream_truncated", 1)]


@pytest.mark.parametrize(("end", "whole"), [(b"FIN", True), (b"RST", False)])
def test_an_answer_until_close(gateway: Gateway, table: Table, end: bytes, whole: bool) -> None:
    with Raw(gateway.port) as raw:
        found = _get(raw, table.add(answer(body=b"abc"), b"def", end))
        assert (found.body if whole else found.body[:3], found.whole) == (b"abcdef" if whole else b"abc", whole)
        if whole:
            _in_step(raw)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 100 Continue\r\n\r\n"])
@pytest.mark.parametrize("end", [b"FIN", b"RST"])
def test_an_upstream_that_closes_before_its_answer(gateway: Gateway, table: Table, sent: bytes, end: bytes) -> None:
    path = table.add(sent, end)
    with Raw(gateway.port) as raw:
        raw.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi".encode())
        found = raw.answer()
        assert (found.status, found.reason) == (502, "upstream_reset")
        _in_step(raw)


def test_headers_that_would_split_the_answer_are_refused(gateway: Gateway, table: Table) -> None:
    for value in (b"a\rSet-Cookie: evil=1", b"a\nSet-Cookie: evil=1", b"a\x00b"):
        with Raw(gateway.port) as raw:
            found = _get(raw, table.add(answer(b"X: " + value, b"Content-Length: 0")))
            assert (found.status, found.all("set-cookie")) == (502, [])


def test_interim_answers(gateway: Gateway, table: Table) -> None:
    hints = answer(b"Link: </a.css>", line=b"HTTP/1.1 103 Early Hints")
    path = table.add(hints, answer(line=b"HTTP/1.1 100 Continue") + GOOD)
    with Raw(gateway.port) as raw:
        raw.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        first, last = raw.answer(), raw.answer()
        assert (first.status, first.get("link"), last.status, last.body) == (103, "</a.css>", 200, b"good")
        assert _get(raw, table.add(hints * 9 + EVIL)).status == 502
        _in_step(raw)
    with Raw(gateway.port) as raw:
        raw.send(f"GET {path} HTTP/1.0\r\nHost: a\r\n\r\n".encode())
        assert raw.answer().status == 200, "1.0 knows no interim answers"


def test_a_switch_that_nobody_asked_for(gateway: Gateway, table: Table) -> None:
    switch = answer(b"Connection: Upgrade", b"Upgrade: websocket", line=b"HTTP/1.1 101 X")
    with Raw(gateway.port) as raw:
        found = _get(raw, table.add(switch + EVIL))
        assert (found.status, found.reason) == (502, "upstream_protocol")
        _in_step(raw)


def test_the_reason_phrase_is_ours(gateway: Gateway, table: Table) -> None:
    path = table.add(answer(b"Content-Length: 0", line=b"HTTP/1.1 404 <script>\xff\xfe"))
    with Raw(gateway.port) as raw:
        raw.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert raw.until(b"\r\n") == b"HTTP/1.1 404 Not Found\r\n"
