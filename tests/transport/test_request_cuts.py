"""Requests refused and taken: the same for every cut of their bytes, and nothing behind a refused one."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.bad_requests import REFUSED_REQUESTS, TAKEN_REQUESTS
from tests.support.corpus import Refused, Taken
from tests.support.h11_upstream import H11Upstream
from tests.support.http import Answer, read_answers
from tests.support.wired import ByteWire, Wired, proxy

BEHIND = b"GET /behind HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
EVERY_CUT = 300 if "EVERY_CUT" not in os.environ else 100_000
"""Messages up to this length are cut everywhere; longer ones around their ends and at 40 places between."""


def _cuts(data: bytes) -> list[int]:
    size = len(data)
    if size <= EVERY_CUT:
        return list(range(1, size))
    return sorted({*range(1, 60), *range(60, size - 60, size // 40), *range(size - 60, size)})


def _bytes(data: bytes) -> list[bytes]:
    if len(data) > 10_000:
        return [data[at : at + 97] for at in range(0, len(data), 97)]
    return [data[at : at + 1] for at in range(len(data))]


async def _talk(wired: Wired, *pieces: bytes) -> tuple[ByteWire, list[Answer]]:
    client = wired.client()
    for piece in pieces:
        client.send(piece)
    await wired.settle()
    return client, read_answers(bytes(client.received), closed=not client.is_open)


@pytest.mark.parametrize("row", REFUSED_REQUESTS, ids=str)
async def test_refused_in_every_cut(row: Refused) -> None:
    wired = Wired(proxy())
    upstream = H11Upstream(wired)
    data = row.data + BEHIND
    cuts = [(data,), tuple(_bytes(data)), *[(data[:at], data[at:]) for at in _cuts(row.data)]]
    for pieces in cuts:
        client, answers = await _talk(wired, *pieces)
        statuses = [each.status for each in answers]
        where = (statuses, pieces[0] if len(pieces) < 3 else "byte by byte")
        assert len(statuses) == 1, where
        assert statuses[0] in row.statuses, where
        assert answers[0].get("connection") == "close", where
        assert client.ended or not client.is_open, where
        assert upstream.seen == [], where
        assert wired.upstreams == [], where
        client.reset()
    assert {exchange.status for exchange in wired.log} <= row.statuses
    await wired.settle()
    assert wired.gateway.in_flight == wired.gateway.connections == 0


@pytest.mark.parametrize("row", TAKEN_REQUESTS, ids=str)
async def test_taken_in_every_cut(row: Taken) -> None:
    wired = Wired(proxy())
    upstream = H11Upstream(wired)
    keeps = b" HTTP/1.0\r\n" not in row.data
    data = row.data + BEHIND
    cuts = [(data,), tuple(_bytes(data)), *[(data[:at], data[at:]) for at in range(1, len(data))]]
    for pieces in cuts:
        upstream.seen.clear()
        client, answers = await _talk(wired, *pieces)
        assert [each.status for each in answers] == ([200, 200] if keeps else [200]), pieces[0]
        assert [(each.target, each.body) for each in upstream.seen] == [("/x", row.body), ("/behind", b"")][: 1 + keeps]
        client.reset()


@given(row=st.sampled_from(REFUSED_REQUESTS), data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
async def test_refused_in_any_cut(row: Refused, data: st.DataObject) -> None:
    whole = row.data + BEHIND
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    wired = Wired(proxy())
    upstream = H11Upstream(wired)
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True) if a < b]
    _, answers = await _talk(wired, *pieces)
    assert [each.status in row.statuses for each in answers] == [True]
    assert upstream.seen == []


@given(
    rows=st.lists(st.sampled_from([row for row in TAKEN_REQUESTS if b"/1.0\r\n" not in row.data]), max_size=5),
    data=st.data(),
)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
async def test_pipelined_requests_in_any_cut(rows: list[Taken], data: st.DataObject) -> None:
    whole = b"".join(row.data for row in rows)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    wired = Wired(proxy())
    H11Upstream(wired, lambda seen: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(seen.body), seen.body))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True) if a < b]
    client = wired.client()
    for piece in pieces:
        client.send(piece)
        await wired.settle()
    answers = read_answers(bytes(client.received))
    assert [each.body for each in answers] == [row.body for row in rows]
    assert client.is_open
