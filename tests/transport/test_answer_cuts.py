"""Answers refused and taken: the same for every cut of their bytes, and nothing of a refused one goes on."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.bad_answers import BROKEN_ANSWER_BODIES, REFUSED_ANSWER_HEADS, TAKEN_ANSWERS
from tests.support.corpus import Refused, Taken
from tests.support.http import Answer, read_answers
from tests.support.wired import ByteWire, Wired, proxy

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


def _cuts(data: bytes) -> list[int]:
    size = len(data)
    if size <= 300:
        return list(range(1, size))
    return sorted({*range(1, 60), *range(60, size - 60, size // 40), *range(size - 60, size)})


def _bytes(data: bytes) -> list[bytes]:
    step = 97 if len(data) > 10_000 else 1
    return [data[at : at + step] for at in range(0, len(data), step)]


async def _answer(wired: Wired, *pieces: bytes) -> tuple[ByteWire, ByteWire, list[Answer]]:
    """(client, upstream, what the client got) for a GET that is answered with `pieces`, the connection kept open."""
    client = wired.client()
    client.send(GET)
    await wired.settle()
    (upstream,) = (wire for wire in wired.upstreams if wire.is_open and wire.clear())
    for piece in pieces:
        upstream.send(piece)
    await wired.settle()
    return client, upstream, read_answers(bytes(client.received), closed=not client.is_open)


@pytest.mark.parametrize("row", REFUSED_ANSWER_HEADS, ids=str)
async def test_a_bad_head_is_a_502_in_every_cut(row: Refused) -> None:
    wired = Wired(proxy())
    for pieces in [(row.data,), tuple(_bytes(row.data)), *[(row.data[:at], row.data[at:]) for at in _cuts(row.data)]]:
        client, upstream, answers = await _answer(wired, *pieces)
        where = [(each.status, each.lines) for each in answers], pieces[0]
        assert [(each.status, each.reason) for each in answers] == [(502, "upstream_protocol")], where
        assert not upstream.is_open, where
        assert client.is_open, where
        client.reset()
        await wired.settle()


@pytest.mark.parametrize("row", BROKEN_ANSWER_BODIES, ids=str)
async def test_a_broken_body_is_a_502_or_a_cut(row: Refused) -> None:
    wired = Wired(proxy())
    for pieces in [(row.data,), tuple(_bytes(row.data)), *[(row.data[:at], row.data[at:]) for at in _cuts(row.data)]]:
        client, upstream, answers = await _answer(wired, *pieces)
        where = [(each.status, each.lines) for each in answers], pieces[0]
        assert not upstream.is_open, where
        if client.is_open:
            assert [(each.status, each.reason) for each in answers] == [(502, "upstream_protocol")], where
        else:
            assert client.aborted, where
            assert [(each.status, each.whole) for each in answers] in ([], [(200, False)]), where
            assert (wired.log[-1].status, wired.log[-1].reason) == (200, "upstream_truncated")
        client.reset()
        await wired.settle()


@pytest.mark.parametrize("row", TAKEN_ANSWERS, ids=str)
async def test_taken_in_every_cut(row: Taken) -> None:
    wired = Wired(proxy())
    for pieces in [
        (row.data,),
        tuple(_bytes(row.data)),
        *[(row.data[:at], row.data[at:]) for at in range(1, len(row.data))],
    ]:
        client, upstream, answers = await _answer(wired, *pieces)
        assert [each.body for each in answers if each.status >= 200] == [row.body], pieces[0]
        assert all(each.whole for each in answers)
        assert upstream.is_open is (b"HTTP/1.0" not in row.data), "kept where the upstream keeps it"
        client.reset()
        await wired.settle()
    assert len(wired.upstreams) == 1 or b"HTTP/1.0" in row.data


@pytest.mark.parametrize("row", TAKEN_ANSWERS, ids=str)
async def test_bytes_behind_an_answer_reach_nobody(row: Taken) -> None:
    stray = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    wired = Wired(proxy())
    data = row.data + stray
    for pieces in [
        (data,),
        (row.data, stray),
        tuple(_bytes(data)),
        *[(data[:at], data[at:]) for at in range(1, len(data))],
    ]:
        client, upstream, answers = await _answer(wired, *pieces)
        assert [each.body for each in answers if each.status >= 200] == [row.body]
        assert not upstream.is_open
        client.clear()
        client.send(GET)
        await wired.settle()
        assert client.received == b"", "the next request waits for an answer of its own"
        client.reset()
        await wired.settle()
        assert not any(wire.is_open for wire in wired.upstreams)


@given(rows=st.lists(st.sampled_from(TAKEN_ANSWERS), min_size=1, max_size=4), data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
async def test_answers_in_any_cut_belong_to_their_requests(rows: list[Taken], data: st.DataObject) -> None:
    wired = Wired(proxy())
    for row in rows:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(row.data)), max_size=6)))
        pieces = [row.data[a:b] for a, b in zip([0, *cuts], [*cuts, len(row.data)], strict=True) if a < b]
        client, _, answers = await _answer(wired, *pieces)
        assert [each.body for each in answers if each.status >= 200] == [row.body]
        client.reset()
        await wired.settle()
