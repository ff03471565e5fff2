"""Client connections in every state: what is answered, when they close, what a slow or absent client costs."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.config.settings import GatewaySettings, LimitSettings
from gateway.decide.route.match import parse_match
from gateway.pipeline.settings import BufferSettings, ForwardSettings, RespondSettings, RouteSettings
from gateway.transport.answering import DISCARD_LIMIT
from gateway.transport.ending import LINGER_S
from gateway.transport.server import READ_AHEAD, REQUESTS_PER_CALLBACK
from gateway.transport.settings import ClientSettings
from tests.support.corpus import request
from tests.support.h11_upstream import H11Upstream
from tests.support.http import Answer, read_answers
from tests.support.wired import ByteWire, Wired, proxy

PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _answers(client: ByteWire, *methods: str) -> list[Answer]:
    return read_answers(client.clear(), methods=methods, closed=not client.is_open)


def _respond(body: bytes) -> GatewaySettings:
    return proxy(route={"answer": RespondSettings(body=body)})


def _client(**settings: Any) -> GatewaySettings:
    return proxy(client=ClientSettings(**settings))


# --- keep-alive and pipelining ------------------------------------------------------------------------------------


async def test_requests_follow_each_other_on_one_connection() -> None:
    wired = Wired(proxy())
    client = wired.client()
    for _ in range(3):
        client.send(PING)
        await wired.settle()
        assert [each.body for each in _answers(client)] == [b"pong"]
    assert client.is_open
    assert [exchange.status for exchange in wired.log] == [200] * 3


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [("1.1", "", True), ("1.1", "close", False), ("1.0", "", False), ("1.0", "keep-alive", True)],
)
async def test_who_is_kept(version: str, connection: str, kept: bool) -> None:
    wired = Wired(proxy())
    client = wired.client()
    fields = [f"Connection: {connection}".encode()] if connection else []
    client.send(request(*fields, line=f"GET /ping HTTP/{version}".encode()) + PING)
    await wired.settle()
    answers = _answers(client)
    assert len(answers) == 1 + kept
    assert client.is_open is kept
    said = {("1.1", True): None, ("1.1", False): "close", ("1.0", False): "close", ("1.0", True): "keep-alive"}
    assert answers[0].get("connection") == said[version, kept]


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    wired = Wired(_client(keep_alive_s=5.0))
    client = wired.client()
    client.send(PING)
    await wired.pass_time(4.8)
    assert client.is_open
    await wired.pass_time(0.3)
    assert not client.is_open
    assert not client.aborted
    assert [each.status for each in _answers(client)] == [200], "closed without a word"


async def test_a_client_that_never_speaks_is_closed() -> None:
    wired = Wired(_client(header_timeout_s=2.0))
    client = wired.client()
    await wired.pass_time(2.1)
    assert not client.is_open
    assert client.received == b""


async def test_pipelined_requests_are_answered_in_order_a_few_a_turn() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(PING * (3 * REQUESTS_PER_CALLBACK))
    assert wired.gateway.in_flight == 0
    assert len(wired.log) == REQUESTS_PER_CALLBACK
    await wired.settle()
    assert len(_answers(client)) == 3 * REQUESTS_PER_CALLBACK


async def test_a_flood_of_pipelined_requests_is_not_read_ahead() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(PING * (READ_AHEAD // len(PING) + 100))
    assert client.paused
    for _ in range(5):
        client.send(PING * 100)
    await wired.settle()
    assert len(_answers(client)) == READ_AHEAD // len(PING) + 600
    assert not client.paused


async def test_a_write_that_fails_cuts_its_connection_and_no_other() -> None:
    wired = Wired(proxy())
    broken, sound = wired.client(), wired.client()
    broken.ended = True  # so that writing raises
    broken.send(PING)
    sound.send(PING)
    await wired.settle()
    assert broken.lost
    assert [each.status for each in _answers(sound)] == [200]


async def test_requests_behind_one_under_way_are_kept_up_to_a_bound() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(GET)
    client.send(PING * (READ_AHEAD // len(PING)))
    assert not client.paused
    client.send(PING)
    assert client.paused
    await wired.settle()
    wired.upstreams[0].send(OK)
    await wired.settle()
    answers = _answers(client)
    assert [each.body for each in answers] == [b"ok"] + [b"pong"] * (READ_AHEAD // len(PING) + 1)
    assert not client.paused


async def test_no_request_is_begun_for_a_client_that_does_not_read() -> None:
    wired = Wired(_respond(b"x" * 50_000))
    client = wired.client()
    client.blocked = True
    client.send(GET * 60)
    await wired.settle()
    assert len(wired.log) <= 3, "64 KiB of answers wait, more are not made"
    client.unblock()
    await wired.settle()
    assert len(_answers(client)) == 60


# --- heads that come slowly ---------------------------------------------------------------------------------------


async def test_a_slow_head_is_408_however_steadily_it_drips() -> None:
    wired = Wired(_client(header_timeout_s=2.0))
    client = wired.client()
    for byte in b"GET /ping HTTP/1.1\r\nX: " + b"y" * 100:
        client.send(bytes([byte]))
        await wired.pass_time(0.1)
        if not client.is_open or client.ended:
            break
    assert [(each.status, each.reason) for each in _answers(client)] == [(408, "request_timeout")]
    assert wired.log[-1].status == 408


async def test_the_time_for_a_head_begins_with_its_first_byte() -> None:
    wired = Wired(_client(header_timeout_s=2.0, keep_alive_s=60.0))
    client = wired.client()
    client.send(PING)
    await wired.pass_time(30)
    client.send(PING[:10])
    await wired.pass_time(1.5)
    client.send(PING[10:])
    await wired.settle()
    assert [each.status for each in _answers(client)] == [200, 200]


# --- bodies -------------------------------------------------------------------------------------------------------


async def test_a_body_that_stops_coming_is_408_and_frees_the_upstream() -> None:
    wired = Wired(proxy(client=ClientSettings(body_timeout_s=2.0), route={"buffer": BufferSettings(request_bytes=0)}))
    client = wired.client()
    client.send(request(b"Content-Length: 10", body=b"12345"))
    await wired.settle()
    assert wired.upstreams[0].received.endswith(b"12345")
    await wired.pass_time(1.9)
    client.send(b"6")
    await wired.pass_time(1.9)
    assert client.is_open
    await wired.pass_time(0.3)
    assert [(each.status, each.reason) for each in _answers(client)] == [(408, "request_timeout")]
    assert wired.upstreams[0].aborted
    assert wired.gateway.in_flight == 0


async def test_a_body_that_nobody_wants_is_counted() -> None:
    wired = Wired(_respond(b"no"))
    client = wired.client()
    client.send(request(b"Content-Length: 7", body=b"1234567"))
    client.send(request(b"Content-Length: 7", body=b"123"))
    assert [exchange.bytes_in for exchange in wired.log] == [7, 3]


async def test_an_upload_goes_on_piece_by_piece() -> None:
    wired = Wired(proxy(route={"buffer": BufferSettings(request_bytes=0)}))
    client = wired.client()
    client.send(request(b"Content-Length: 6", body=b"ab"))
    await wired.settle()
    (upstream,) = wired.upstreams
    assert upstream.clear().endswith(b"\r\n\r\nab")
    client.send(b"cd")
    await wired.settle()
    assert upstream.clear() == b"cd"
    client.send(b"ef" + PING)
    await wired.settle()
    assert upstream.clear() == b"ef"
    upstream.send(OK)
    await wired.settle()
    assert [each.body for each in _answers(client)] == [b"ok", b"pong"]


async def test_an_upload_in_chunks_is_chunked_anew() -> None:
    wired = Wired(proxy(route={"buffer": BufferSettings(request_bytes=0)}))
    client = wired.client()
    client.send(request(b"Transfer-Encoding: chunked", body=b"2;x=y\r\nab\r\n"))
    await wired.settle()
    (upstream,) = wired.upstreams
    head, _, body = upstream.clear().partition(b"\r\n\r\n")
    assert head.count(b"Transfer-Encoding: chunked") == 1
    assert body == b"2\r\nab\r\n"
    client.send(b"00003\r\ncde\r\n0\r\nX-Sum: 1\r\n\r\n")
    await wired.settle()
    assert upstream.clear() == b"3\r\ncde\r\n0\r\n\r\n"


async def test_a_buffered_body_engages_no_upstream_until_it_is_whole() -> None:
    wired = Wired(proxy(route={"buffer": BufferSettings(request_bytes=100)}))
    upstream = H11Upstream(wired)
    client = wired.client()
    client.send(request(b"Content-Length: 10", body=b"12345"))
    await wired.settle()
    assert wired.upstreams == []
    assert wired.gateway.buffered.value == 5
    client.send(b"67890")
    await wired.settle()
    assert [each.body for each in upstream.seen] == [b"1234567890"]
    assert [each.status for each in _answers(client)] == [200]
    assert wired.gateway.buffered.value == 0


async def test_a_buffered_body_in_chunks_goes_on_with_its_length() -> None:
    wired = Wired(proxy())
    upstream = H11Upstream(wired)
    client = wired.client()
    for piece in (b"5\r\nhello\r\n", b"1\r\n!\r\n", b"0\r\n\r\n"):
        client.send(request(b"Transfer-Encoding: chunked", body=piece) if piece[0:1] == b"5" else piece)
        await wired.settle()
    (seen,) = upstream.seen
    assert seen.body == b"hello!"
    assert seen.all("content-length") == ["6"]
    assert seen.all("transfer-encoding") == []


async def test_a_body_in_chunks_over_the_buffer_streams() -> None:
    wired = Wired(proxy(route={"buffer": BufferSettings(request_bytes=8)}))
    client = wired.client()
    client.send(request(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"))
    await wired.settle()
    assert wired.upstreams == []
    client.send(b"5\r\nthere\r\n")
    await wired.settle()
    assert wired.upstreams[0].received.endswith(b"\r\n\r\na\r\nhellothere\r\n")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_its_limit(chunked: bool) -> None:
    wired = Wired(proxy(route={"body_bytes": 10, "buffer": BufferSettings(request_bytes=0)}))
    client = wired.client()
    if chunked:
        client.send(request(b"Transfer-Encoding: chunked", body=b"6\r\n123456\r\n"))
        await wired.settle()
        client.send(b"6\r\n123456\r\n0\r\n\r\n")
    else:
        client.send(request(b"Content-Length: 11", body=b"12345678901"))
    await wired.settle()
    assert [(each.status, each.reason) for each in _answers(client)] == [(413, "body_too_large")]
    assert not any(wire.is_open for wire in wired.upstreams)
    assert chunked or wired.upstreams == []


async def test_a_chunk_that_breaks_the_framing_while_it_streams() -> None:
    wired = Wired(proxy(route={"buffer": BufferSettings(request_bytes=0)}))
    client = wired.client()
    client.send(request(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"))
    await wired.settle()
    client.send(b"nonsense\r\n" + PING)
    await wired.settle()
    assert [(each.status, each.reason) for each in _answers(client)] == [(400, "bad_request")]
    assert wired.upstreams[0].aborted
    assert client.ended


async def test_a_broken_chunk_behind_the_answers_head_cuts() -> None:
    wired = Wired(proxy(route={"buffer": BufferSettings(request_bytes=0)}))
    client = wired.client()
    client.send(request(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"))
    await wired.settle()
    wired.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
    await wired.settle()
    client.send(b"nonsense\r\n")
    await wired.settle()
    assert client.aborted
    (answer,) = _answers(client)
    assert not answer.whole
    assert (wired.log[-1].status, wired.log[-1].reason) == (200, "bad_request")
    assert wired.upstreams[0].aborted


# --- Expect -------------------------------------------------------------------------------------------------------


async def test_100_continue_is_said_when_the_body_is_wanted() -> None:
    wired = Wired(proxy())
    upstream = H11Upstream(wired)
    client = wired.client()
    client.send(request(b"Expect: 100-continue", b"Content-Length: 5"))
    await wired.settle()
    assert client.clear() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"hello")
    await wired.settle()
    assert [each.status for each in _answers(client)] == [200]
    assert upstream.seen[0].all("expect") == []


@pytest.mark.parametrize(
    ("lines", "line", "body"),
    [
        ([b"Content-Length: 5"], b"POST /x HTTP/1.1", b"hello"),
        ([b"Content-Length: 5"], b"POST /x HTTP/1.0", b"hello"),
        ([], b"GET /x HTTP/1.1", b""),
    ],
)
async def test_100_continue_is_not_said_where_nobody_waits(lines: list[bytes], line: bytes, body: bytes) -> None:
    wired = Wired(proxy())
    H11Upstream(wired)
    client = wired.client()
    client.send(request(b"Expect: 100-continue", *lines, line=line, body=body))
    await wired.settle()
    assert [each.status for each in _answers(client)] == [200]


async def test_100_continue_is_not_said_to_a_body_that_is_refused() -> None:
    wired = Wired(proxy(route={"body_bytes": 4}))
    client = wired.client()
    client.send(request(b"Expect: 100-continue", b"Content-Length: 5"))
    await wired.settle()
    assert [each.status for each in _answers(client)] == [413]
    assert client.ended, "the body may come or not: the connection cannot go on"


async def test_another_expectation_is_417() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(request(b"Expect: 200-ok", b"Content-Length: 5", body=b"hello"))
    await wired.settle()
    assert [each.status for each in _answers(client)] == [417]
    assert wired.upstreams == []


# --- answers that come before the body has ------------------------------------------------------------------------


async def _early(body_bytes: int, **settings: Any) -> tuple[Wired, ByteWire]:
    wired = Wired(proxy(route={"buffer": BufferSettings(request_bytes=0)}, **settings))
    client = wired.client()
    client.send(request(b"Content-Length: %d" % body_bytes, body=b"x" * 10))
    await wired.settle()
    wired.upstreams[0].send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    await wired.settle()
    return wired, client


async def test_an_early_answer_is_passed_at_once_and_a_small_rest_is_read() -> None:
    wired, client = await _early(1000)
    (answer,) = _answers(client)
    assert (answer.status, answer.body, answer.get("connection")) == (403, b"no", None)
    assert not wired.upstreams[0].is_open, "it did not get its whole request"
    client.send(b"x" * 500)
    client.send(b"x" * 490 + PING)
    await wired.settle()
    assert [each.body for each in _answers(client)] == [b"pong"]


async def test_after_an_early_answer_a_large_rest_closes() -> None:
    _, client = await _early(DISCARD_LIMIT + 1000)
    (answer,) = _answers(client)
    assert (answer.status, answer.get("connection")) == (403, "close")
    assert client.ended


async def test_after_an_early_answer_endless_chunks_close() -> None:
    wired = Wired(proxy(route={"buffer": BufferSettings(request_bytes=0)}))
    client = wired.client()
    client.send(request(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"))
    await wired.settle()
    wired.upstreams[0].send(OK)
    await wired.settle()
    assert [each.status for each in _answers(client)] == [200]
    for _ in range(DISCARD_LIMIT // 10_000 + 1):
        client.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
    await wired.settle()
    assert client.ended or not client.is_open


async def test_after_an_early_answer_a_rest_that_does_not_come_closes() -> None:
    wired, client = await _early(1000, client=ClientSettings(body_timeout_s=2.0))
    await wired.pass_time(2.1)
    assert not client.is_open


async def test_after_an_early_answer_a_broken_rest_closes() -> None:
    wired = Wired(proxy(route={"buffer": BufferSettings(request_bytes=0)}))
    client = wired.client()
    client.send(request(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"))
    await wired.settle()
    wired.upstreams[0].send(OK)
    await wired.settle()
    client.send(b"nonsense\r\n" + PING)
    await wired.settle()
    assert [each.status for each in _answers(client)] == [200]
    assert not client.is_open


# --- lingering ----------------------------------------------------------------------------------------------------


async def test_a_refused_connection_is_read_for_a_moment_and_then_closed() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(b"nonsense\r\n\r\n")
    await wired.settle()
    assert client.ended
    client.send(b"x" * 1_000_000 + PING)
    await wired.pass_time(LINGER_S - 0.2)
    assert not client.lost
    await wired.pass_time(0.3)
    assert client.lost
    assert len(_answers(client)) == 1


async def test_a_refused_client_that_ends_its_side_is_closed_at_once() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(b"nonsense\r\n\r\n")
    await wired.settle()
    client.send_eof()
    await wired.settle()
    assert client.lost
    assert wired.gateway.connections == 0


# --- clients that leave, and clients that do not read -------------------------------------------------------------


@pytest.mark.parametrize("how", ["send_eof", "reset"])
async def test_a_client_that_leaves_frees_its_upstream(how: str) -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(GET)
    await wired.settle()
    getattr(client, how)()
    await wired.settle()
    assert wired.upstreams[0].aborted
    assert wired.gateway.in_flight == 0
    (exchange,) = wired.log
    assert (exchange.status, exchange.reason) == (499, "client_closed")


async def test_a_client_that_leaves_gives_up_its_place_in_line() -> None:
    wired = Wired(proxy())
    wired.dial_gate.clear()
    client = wired.client()
    client.send(GET)
    await wired.settle()
    client.reset()
    await wired.settle()
    assert wired.gateway.in_flight == 0
    wired.dial_gate.set()
    await wired.settle()
    assert wired.connections().idle == 1, "the connection serves whoever comes next"


async def test_a_slow_reader_pauses_the_upstream_and_its_time_does_not_run() -> None:
    wired = Wired(proxy(route={"timeout_s": 5.0}, client=ClientSettings(body_timeout_s=20.0)))
    client = wired.client()
    client.send(GET)
    await wired.settle()
    (upstream,) = wired.upstreams
    client.blocked = True
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 300_000)
    await wired.settle()
    assert upstream.paused
    assert wired.gateway.buffered.value >= 256 * 1024
    await wired.pass_time(10)
    client.take(250_000)
    await wired.settle()
    assert upstream.paused, "one read more would be beyond what may be read ahead"
    client.take(100_000)
    await wired.settle()
    assert not upstream.paused
    assert wired.gateway.buffered.value == 0
    upstream.send(b"x" * 700_000)
    client.unblock()
    await wired.settle()
    assert [(each.status, len(each.body)) for each in _answers(client)] == [(200, 1_000_000)]


async def test_a_client_that_reads_nothing_is_cut() -> None:
    wired = Wired(proxy(client=ClientSettings(body_timeout_s=3.0)))
    client = wired.client()
    client.send(GET)
    await wired.settle()
    client.blocked = True
    wired.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 300_000)
    await wired.pass_time(2.8)
    assert not client.aborted
    await wired.pass_time(0.4)
    assert client.aborted
    assert wired.upstreams[0].aborted
    assert wired.gateway.buffered.value == wired.gateway.in_flight == 0


async def test_past_the_limit_of_buffered_bytes_who_reads_slowly_is_cut() -> None:
    wired = Wired(proxy(limits=LimitSettings(buffered_bytes=500_000), client=ClientSettings(body_timeout_s=60.0)))
    slow = [wired.client() for _ in range(3)]
    for client in slow:
        client.blocked = True
        client.send(GET)
        await wired.settle()
        wired.upstreams[-1].send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 300_000)
        await wired.pass_time(0.2)
    assert [client.aborted for client in slow] == [False, True, True], "there is room for one"
    assert {exchange.reason for exchange in wired.log} == {"shed_overload"}
    assert 0 < wired.gateway.buffered.value <= 500_000
    assert [wire.is_open for wire in wired.upstreams] == [True, False, False]
    slow[0].unblock()
    await wired.settle()
    assert wired.gateway.buffered.value == 0


async def test_past_the_limit_of_buffered_bytes_no_body_is_taken_on() -> None:
    wired = Wired(proxy(limits=LimitSettings(buffered_bytes=1000)))
    first, second = wired.client(), wired.client()
    first.send(request(b"Content-Length: 1000", body=b"x" * 999))
    second.send(request(b"Content-Length: 10", body=b"xx"))
    await wired.settle()
    (answer,) = _answers(second)
    assert (answer.status, answer.reason, answer.get("retry-after")) == (503, "shed_overload", "1")
    H11Upstream(wired)
    first.send(b"x")
    await wired.settle()
    third = wired.client()
    third.send(request(b"Content-Length: 10", body=b"x"))
    third.send(b"x" * 9)
    await wired.settle()
    assert [each.status for each in _answers(first) + _answers(third)] == [200, 200]


async def test_a_client_that_reads_a_little_is_not_cut() -> None:
    wired = Wired(proxy(client=ClientSettings(body_timeout_s=3.0)))
    client = wired.client()
    client.send(GET)
    await wired.settle()
    client.blocked = True
    wired.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 300_000)
    for _ in range(10):
        await wired.pass_time(2.0)
        client.take(100)
    assert not client.aborted


async def test_a_client_that_does_not_read_the_end_is_cut_too() -> None:
    """Also where the exchange is over and the last bytes wait in our buffer."""
    wired = Wired(proxy(client=ClientSettings(body_timeout_s=3.0, keep_alive_s=600.0)))
    client = wired.client()
    client.blocked = True
    client.send(GET)
    await wired.settle()
    wired.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000)
    await wired.pass_time(4)
    assert client.aborted
    assert wired.gateway.connections == 0


async def test_a_client_that_was_slow_may_then_take_its_time() -> None:
    """The deadline of a slow reader ends where it reads on: what is under way then is not cut."""
    wired = Wired(proxy(client=ClientSettings(body_timeout_s=3.0)))
    client = wired.client()
    client.send(request(b"Content-Length: 300000", body=b"x" * 70_000))
    await wired.settle()
    (upstream,) = wired.upstreams
    upstream.blocked = client.blocked = True
    client.send(b"x" * 70_000)
    assert client.paused
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + b"x" * 300_000)
    await wired.pass_time(2)
    client.unblock()
    await wired.pass_time(4)
    assert client.is_open, "it is the upstream that does not read"


async def test_a_client_that_does_not_read_is_cut_though_it_sends() -> None:
    wired = Wired(proxy(client=ClientSettings(body_timeout_s=3.0)))
    client = wired.client()
    client.send(request(b"Content-Length: 100000", body=b"x" * 90_000))
    await wired.settle()
    client.blocked = True
    wired.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 300_000)
    for _ in range(2):
        await wired.pass_time(1)
        client.send(b"x" * 5_000)
    await wired.pass_time(1.2)
    assert client.aborted
    assert wired.upstreams[0].aborted


async def test_a_client_that_ends_its_side_gets_no_more_than_waits_for_it() -> None:
    wired = Wired(proxy(client=ClientSettings(body_timeout_s=3.0)))
    client = wired.client()
    client.send(GET)
    await wired.settle()
    client.blocked = True
    wired.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000)
    await wired.settle()
    client.send_eof()
    assert wired.upstreams[0].aborted, "nobody reads on for it"
    assert wired.log[0].reason == "client_closed"
    await wired.pass_time(2)
    assert not client.aborted
    client.unblock()
    await wired.settle()
    assert client.received.endswith(b"x" * 100_000)
    assert client.lost


async def test_a_client_that_ends_its_side_and_reads_nothing_is_cut() -> None:
    wired = Wired(proxy(client=ClientSettings(body_timeout_s=3.0)))
    client = wired.client()
    client.blocked = True
    client.send(PING)
    await wired.settle()
    client.send_eof()
    await wired.pass_time(3.2)
    assert client.aborted
    assert wired.gateway.connections == 0


async def test_a_head_in_part_behind_answers_that_were_read_late() -> None:
    wired = Wired(_respond(b"x" * 20_000))
    client = wired.client()
    client.blocked = True
    client.send(GET * 2)
    await wired.settle()
    client.send(GET * 2 + GET[:10])
    await wired.settle()
    assert len(wired.log) == 4
    client.send(GET[10:])
    await wired.settle()
    assert len(wired.log) == 4, "80 KB of answers wait"
    client.unblock()
    await wired.settle()
    assert [each.status for each in _answers(client)] == [200] * 5


async def test_a_client_that_was_slow_before_its_answer_began_is_waited_for() -> None:
    small = RouteSettings("small", parse_match("/small"), ForwardSettings((("u", 1),)), buffer=BufferSettings(0, 1000))
    settings = proxy()
    large = replace(settings.routes[0], buffer=BufferSettings(0, 1 << 19))
    wired = Wired(replace(settings, routes=(small, large)))
    client = wired.client()
    client.blocked = True
    client.send(GET)
    await wired.settle()
    (upstream,) = wired.upstreams
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
    await wired.settle()
    client.send(b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n")
    await wired.settle()
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + b"y" * 50_000)
    await wired.settle()
    assert upstream.paused
    client.unblock()
    await wired.settle()
    assert not upstream.paused


async def test_a_body_that_was_sent_is_not_held_while_the_answer_streams() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(request(b"Content-Length: 5000", body=b"x" * 5000))
    await wired.settle()
    assert wired.gateway.buffered.value == 5000
    wired.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    await wired.settle()
    assert wired.gateway.buffered.value == 0


# --- draining -----------------------------------------------------------------------------------------------------


async def test_draining_closes_idle_connections_and_lets_answers_end() -> None:
    wired = Wired(proxy())
    idle, fresh, busy = wired.client(), wired.client(), wired.client()
    idle.send(PING)
    busy.send(GET)
    await wired.settle()
    idle.clear()
    wired.gateway.begin_drain()
    await wired.settle()
    assert idle.lost
    assert fresh.lost
    assert busy.is_open
    wired.upstreams[0].send(OK)
    await wired.settle()
    (answer,) = _answers(busy)
    assert (answer.body, answer.get("connection")) == (b"ok", "close")
    assert busy.lost


async def test_draining_lets_a_request_that_is_arriving_be_answered() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(PING[:20])
    wired.gateway.begin_drain()
    await wired.settle()
    assert client.is_open
    client.send(PING[20:])
    await wired.settle()
    assert [(each.status, each.get("connection")) for each in _answers(client)] == [(200, "close")]


async def test_draining_closes_behind_a_body_that_nobody_wants() -> None:
    wired, client = await _early(1000)
    wired.gateway.begin_drain()
    client.send(b"x" * 990)
    await wired.settle()
    assert client.lost


async def test_closing_cuts_what_is_left() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(GET)
    await wired.settle()
    wired.gateway.close()
    await wired.settle()
    assert client.aborted
    assert [each.reason for each in wired.log] == ["draining"]
    assert wired.gateway.in_flight == 0
