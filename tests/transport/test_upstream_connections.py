"""Connections to targets: leased, kept, given up; what an upstream may do and what a client sees of it."""

from typing import Any

import pytest

from gateway.pipeline.settings import BufferSettings
from gateway.transport.settings import ClientSettings, ConnectionsSettings
from gateway.upstreams.settings import TargetSettings, TimeoutSettings
from tests.support.corpus import request
from tests.support.h11_upstream import H11Upstream
from tests.support.http import Answer, read_answers
from tests.support.wired import ByteWire, Wired, proxy

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
POST = request(b"Content-Length: 2", body=b"hi")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _answers(client: ByteWire, *methods: str) -> list[Answer]:
    return read_answers(client.clear(), methods=methods, closed=not client.is_open)


def _connections(**settings: Any) -> Any:
    return proxy(upstream={"connections": ConnectionsSettings(**settings)})


async def _exchange(wired: Wired, client: ByteWire, sent: bytes = GET, answer: bytes = OK) -> list[Answer]:
    """One request whose answer comes from the connection that carries it."""
    for wire in wired.upstreams:
        wire.clear()
    client.send(sent)
    await wired.settle()
    (upstream,) = (wire for wire in wired.upstreams if wire.received)
    upstream.send(answer)
    await wired.settle()
    return _answers(client, sent.partition(b" ")[0].decode())


# --- leasing ------------------------------------------------------------------------------------------------------


async def test_connections_are_used_again_newest_first() -> None:
    wired = Wired(proxy())
    first, second = wired.client(), wired.client()
    first.send(GET)
    second.send(GET)
    await wired.settle()
    one, two = wired.upstreams
    two.send(OK)
    one.send(OK)
    await wired.settle()
    one.clear()
    two.clear()
    first.send(GET)
    await wired.settle()
    assert one.received, "the one that was used last"
    assert not two.received
    assert len(wired.upstreams) == 2


async def test_an_idle_connection_expires_before_the_upstream_would_close_it() -> None:
    wired = Wired(_connections(idle_timeout_s=4.0))
    client = wired.client()
    await _exchange(wired, client)
    await wired.pass_time(3.8)
    assert wired.upstreams[0].is_open
    await wired.pass_time(0.3)
    assert wired.upstreams[0].closing
    assert wired.connections().idle == wired.connections().active == 0


@pytest.mark.parametrize(("hint", "seconds"), [(b"timeout=3", 2.0), (b"timeout=8, max=100", 7.0)])
async def test_an_upstream_says_how_long_it_keeps_a_connection(hint: bytes, seconds: float) -> None:
    wired = Wired(proxy())
    await _exchange(
        wired, wired.client(), answer=b"HTTP/1.1 200 OK\r\nKeep-Alive: %b\r\nContent-Length: 0\r\n\r\n" % hint
    )
    await wired.pass_time(seconds - 0.2)
    assert wired.upstreams[0].is_open
    await wired.pass_time(0.3)
    assert not wired.upstreams[0].is_open


async def test_no_more_than_the_cap_are_opened_and_who_waits_is_served_in_order() -> None:
    wired = Wired(_connections(max=2))
    clients = [wired.client() for _ in range(5)]
    for number, client in enumerate(clients):
        client.send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
    await wired.settle()
    assert len(wired.upstreams) == 2
    assert wired.connections().active == 2
    order = []
    for _ in range(5):
        upstream = min((wire for wire in wired.upstreams if wire.received), key=lambda wire: wire.received)
        order.append(upstream.clear().split(b" ")[1])
        upstream.send(OK)
        await wired.settle()
    assert order == [b"/0", b"/1", b"/2", b"/3", b"/4"]
    assert [[each.status for each in _answers(client)] for client in clients] == [[200]] * 5
    assert len(wired.upstreams) == 2


async def test_who_waits_too_long_is_told_that_the_upstream_is_busy() -> None:
    wired = Wired(_connections(max=1, wait_s=1.0))
    first, second = wired.client(), wired.client()
    first.send(GET)
    await wired.settle()
    second.send(GET)
    await wired.pass_time(0.8)
    assert second.received == b""
    await wired.pass_time(0.3)
    assert [(each.status, each.reason, each.get("retry-after")) for each in _answers(second)] == [
        (503, "upstream_busy", "1")
    ]
    wired.upstreams[0].send(OK)
    await wired.settle()
    assert [each.status for each in _answers(first)] == [200]
    assert [exchange.status for exchange in wired.log] == [503, 200]
    assert wired.log[0].queue_s == pytest.approx(1.0, abs=0.2)
    assert wired.log[0].overhead_s == pytest.approx(1.0, abs=0.2), "no target had it"


async def test_who_waits_gets_the_place_of_a_connection_that_closes() -> None:
    wired = Wired(_connections(max=1))
    first, second = wired.client(), wired.client()
    first.send(GET)
    await wired.settle()
    second.send(GET)
    await wired.settle()
    wired.upstreams[0].send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    await wired.settle()
    assert [each.status for each in _answers(first)] == [200]
    assert len(wired.upstreams) == 2
    wired.upstreams[1].send(OK)
    await wired.settle()
    assert [each.status for each in _answers(second)] == [200]


async def test_who_gave_up_waiting_is_passed_over() -> None:
    wired = Wired(_connections(max=1))
    clients = [wired.client() for _ in range(3)]
    for client in clients:
        client.send(GET)
        await wired.settle()
    wired.now += 0.3
    clients[1].reset()
    await wired.settle()
    assert [(each.reason, each.queue_s) for each in wired.log] == [("client_closed", pytest.approx(0.3))]
    for _ in range(2):
        wired.upstreams[0].send(OK)
        await wired.settle()
    assert [each.status for each in _answers(clients[2])] == [200]
    assert wired.connections().idle == 1


async def test_the_line_forgets_those_who_gave_up() -> None:
    wired = Wired(_connections(max=1, wait_s=60.0))
    holder = wired.client()
    holder.send(GET)
    await wired.settle()
    for _ in range(500):
        client = wired.client()
        client.send(GET)
        await wired.settle()
        client.reset()
        await wired.settle()
    assert "waiting=0" in repr(wired.connections()) or "waiting=1" in repr(wired.connections())


async def test_a_refused_connect_is_a_502_and_the_next_request_tries_again() -> None:
    wired = Wired(proxy())
    wired.refused = True
    client = wired.client()
    client.send(GET)
    await wired.settle()
    assert [(each.status, each.reason) for each in _answers(client)] == [(502, "connect_refused")]
    wired.refused = False
    assert [each.status for each in await _exchange(wired, client)] == [200]


async def test_a_connect_that_does_not_come_about_is_a_504() -> None:
    wired = Wired(proxy(upstream={"timeout": TimeoutSettings(connect_s=0.05)}))
    wired.dial_gate.clear()
    client = wired.client()
    client.send(GET)
    while not client.received:  # the dialler's time is the loop's own
        await wired.settle()
    assert [(each.status, each.reason) for each in _answers(client)] == [(504, "connect_timeout")]


async def test_the_time_of_a_route_bounds_the_wait_for_a_connection() -> None:
    wired = Wired(proxy(route={"timeout_s": 0.5}, upstream={"timeout": TimeoutSettings(connect_s=60.0)}))
    wired.dial_gate.clear()
    client = wired.client()
    client.send(GET)
    await wired.pass_time(0.3)
    assert not client.received
    await wired.pass_time(0.3)
    assert [(each.status, each.reason) for each in _answers(client)] == [(504, "connect_timeout")]
    wired.dial_gate.set()
    await wired.settle()
    assert wired.connections().idle == 1, "the connection serves whoever comes next"


async def test_another_target_is_tried_where_one_refuses() -> None:
    wired = Wired(proxy(upstream={"targets": (TargetSettings("10.0.0.1", 80), TargetSettings("10.0.0.2", 80))}))

    def refuse_once(host: str) -> bool:
        return host == "10.0.0.1"

    wired.refuses = refuse_once
    client = wired.client()
    for _ in range(4):
        assert [each.status for each in await _exchange(wired, client, POST)] == [200]
    assert {wire.get_extra_info("peername")[0] for wire in wired.upstreams} == {"10.0.0.2"}
    assert max(exchange.attempts for exchange in wired.log) == 2


async def test_a_connection_that_closes_before_it_is_used_fails_its_request() -> None:
    """And is dialled anew for the next in line."""
    wired = Wired(_connections(max=1))
    wired.on_upstream = lambda wire: wire.send_eof()
    first, second = wired.client(), wired.client()
    first.send(GET)
    second.send(GET)
    await wired.settle()
    for client in (first, second):
        assert [(each.status, each.reason) for each in _answers(client)] == [(502, "upstream_reset")]
    assert len(wired.upstreams) == 2
    assert wired.gateway.in_flight == 0


async def test_an_upstream_that_speaks_first_is_closed() -> None:
    wired = Wired(proxy())
    wired.on_upstream = lambda wire: wire.send(b"220 mail.example ESMTP\r\n")
    client = wired.client()
    client.send(GET)
    await wired.settle()
    assert [each.status for each in _answers(client)] == [502]
    assert not wired.upstreams[0].is_open


# --- idle connections that the upstream closes --------------------------------------------------------------------


@pytest.mark.parametrize("how", ["send_eof", "reset"])
@pytest.mark.parametrize("late", [False, True], ids=["seen before", "seen after it was leased"])
async def test_an_idle_connection_that_the_upstream_closed_is_not_the_clients_problem(how: str, late: bool) -> None:
    wired = Wired(proxy())
    client = wired.client()
    await _exchange(wired, client)
    stale = wired.upstreams[0]
    if late:
        client.send(GET)
        await wired.settle()
    getattr(stale, how)()
    if not late:
        await wired.settle()
        assert wired.connections().idle == 0
        client.send(GET)
    await wired.settle()
    assert len(wired.upstreams) == 2
    wired.upstreams[1].send(OK)
    await wired.settle()
    assert [each.status for each in _answers(client)] == [200]
    assert wired.log[-1].attempts == 1 + late


async def test_a_request_that_may_not_be_repeated_is_not() -> None:
    wired = Wired(proxy())
    client = wired.client()
    await _exchange(wired, client)
    client.send(POST)
    await wired.settle()
    wired.upstreams[0].reset()
    await wired.settle()
    assert [(each.status, each.reason) for each in _answers(client)] == [(502, "upstream_reset")]
    assert len(wired.upstreams) == 1


async def test_a_request_that_never_left_may_be_repeated() -> None:
    wired = Wired(proxy())
    client = wired.client()
    await _exchange(wired, client)
    wired.upstreams[0].reset()
    client.send(POST)
    await wired.settle()
    assert len(wired.upstreams) == 2
    assert wired.upstreams[1].received.endswith(b"\r\n\r\nhi")


async def test_a_fresh_connection_that_breaks_is_not_tried_again() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(GET)
    await wired.settle()
    wired.upstreams[0].send_eof()
    await wired.settle()
    assert [(each.status, each.reason) for each in _answers(client)] == [(502, "upstream_reset")]
    assert wired.log[-1].attempts == 1


async def test_repeating_ends() -> None:
    """Also where every connection, kept or fresh, breaks."""
    wired = Wired(proxy())
    client = wired.client()
    await _exchange(wired, client)
    wired.on_upstream = lambda wire: setattr(wire, "on_write", lambda data: wire.reset())
    client.send(GET)
    await wired.settle()
    wired.upstreams[0].reset()
    await wired.settle()
    assert [each.status for each in _answers(client)] == [502]
    assert len(wired.upstreams) == 2


async def _large_put(wired: Wired, client: ByteWire) -> None:
    """The head alone of a request whose body is too large to be kept, on a connection that served before."""
    await _exchange(wired, client)
    wired.upstreams[0].clear()
    client.send(request(b"Content-Length: 100000", line=b"PUT /x HTTP/1.1"))
    await wired.settle()


async def test_a_body_that_went_out_in_part_is_not_sent_again() -> None:
    """Else the next connection would get a request whose body lacks its beginning."""
    wired = Wired(proxy())
    client = wired.client()
    await _large_put(wired, client)
    client.send(b"x" * 50_000)
    await wired.settle()
    wired.upstreams[0].reset()
    await wired.settle()
    client.send(b"x" * 50_000)
    await wired.settle()
    assert len(wired.upstreams) == 1
    assert [(each.status, each.reason) for each in _answers(client)] == [(502, "upstream_reset")]


async def test_a_head_whose_body_did_not_go_out_yet_is_sent_again() -> None:
    wired = Wired(proxy())
    client = wired.client()
    await _large_put(wired, client)
    wired.upstreams[0].reset()
    await wired.settle()
    client.send(b"x" * 100_000)
    await wired.settle()
    assert wired.upstreams[1].received.endswith(b"\r\n\r\n" + b"x" * 100_000)
    wired.upstreams[1].send(OK)
    await wired.settle()
    assert [each.status for each in _answers(client)] == [200]


async def test_an_upstream_that_ends_its_side_under_an_upload_gets_no_more_of_it() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(request(b"Content-Length: 1000000", body=b"x" * 10_000))
    await wired.settle()
    (upstream,) = wired.upstreams
    upstream.blocked = True
    client.send(b"x" * 10_000)
    await wired.settle()
    upstream.send_eof()
    assert upstream.aborted
    await wired.settle()
    assert [(each.status, each.reason) for each in _answers(client)] == [(502, "upstream_reset")]


# --- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
async def test_answers_to_head_have_no_body(answer: bytes) -> None:
    wired = Wired(proxy())
    client = wired.client()
    (head,) = await _exchange(wired, client, b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n", answer)
    assert (head.status, head.body) == (200, b"")
    assert head.get("content-length") == ("5" if b"Content-Length" in answer else None)
    assert client.is_open
    assert wired.upstreams[0].is_open
    assert [each.body for each in await _exchange(wired, client)] == [b"ok"], "and the next is in step"


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("framing", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_answers_that_have_no_body_whatever_they_say(status: int, framing: bytes) -> None:
    wired = Wired(proxy())
    client = wired.client()
    (answer,) = await _exchange(wired, client, answer=b"HTTP/1.1 %d X\r\n%b\r\n" % (status, framing))
    assert (answer.status, answer.body, answer.get("transfer-encoding")) == (status, b"", None)
    assert [each.body for each in await _exchange(wired, client)] == [b"ok"]
    assert len(wired.upstreams) == 1


async def test_a_204_with_a_body_breaks_nobody() -> None:
    wired = Wired(proxy())
    client = wired.client()
    (answer,) = await _exchange(wired, client, answer=b"HTTP/1.1 204 X\r\nContent-Length: 4\r\n\r\nevil", sent=GET)
    assert (answer.status, answer.get("content-length")) == (204, None)
    assert not wired.upstreams[0].is_open
    assert [each.body for each in await _exchange(wired, client)] == [b"ok"]


async def test_an_answer_until_close_is_whole_with_the_fin() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(GET)
    await wired.settle()
    (upstream,) = wired.upstreams
    upstream.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
    await wired.settle()
    upstream.send(b"def")
    upstream.send_eof()
    await wired.settle()
    (answer,) = _answers(client)
    assert (answer.body, answer.whole, answer.get("transfer-encoding")) == (b"abcdef", True, "chunked")
    assert client.is_open
    assert wired.log[-1].reason is None


async def test_an_answer_until_close_that_is_reset_is_cut() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(GET)
    await wired.settle()
    wired.upstreams[0].send(b"HTTP/1.1 200 OK\r\n\r\nabc")
    await wired.settle()
    wired.upstreams[0].reset()
    await wired.settle()
    (answer,) = _answers(client)
    assert (answer.body, answer.whole) == (b"abc", False)
    assert client.aborted
    assert (wired.log[-1].status, wired.log[-1].reason) == (200, "upstream_truncated")


@pytest.mark.parametrize("framing", [b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("how", ["send_eof", "reset"])
async def test_a_body_shorter_than_it_says_is_cut(framing: bytes, how: str) -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(GET)
    await wired.settle()
    wired.upstreams[0].send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n5\r\nabcde\r\n"[: 10 if b"L" in framing else None])
    await wired.settle()
    getattr(wired.upstreams[0], how)()
    await wired.settle()
    (answer,) = _answers(client)
    assert (answer.status, answer.whole) == (200, False)
    assert client.aborted
    assert (wired.log[-1].status, wired.log[-1].reason) == (200, "upstream_truncated")
    assert len(wired.upstreams) == 1, "never repeated once bytes went out"


async def test_an_http_1_0_client_gets_an_answer_until_close() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(request(b"Connection: keep-alive", line=b"GET /x HTTP/1.0"))
    await wired.settle()
    wired.upstreams[0].send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await wired.settle()
    wired.upstreams[0].send(b"3\r\ndef\r\n0\r\nX-Sum: 1\r\n\r\n")
    await wired.settle()
    (answer,) = _answers(client)
    assert (answer.body, answer.get("transfer-encoding"), answer.get("connection")) == (b"abcdef", None, "close")
    assert client.lost


async def test_an_http_1_0_upstream_is_not_kept_unless_it_says_so() -> None:
    wired = Wired(proxy())
    client = wired.client()
    await _exchange(wired, client, answer=OK.replace(b"1.1", b"1.0"))
    assert not wired.upstreams[0].is_open
    await _exchange(wired, client, answer=b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
    assert wired.upstreams[1].is_open


async def test_trailers_go_to_those_who_want_them() -> None:
    chunks = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n"
    )
    wired = Wired(proxy())
    client = wired.client()
    (plain,) = await _exchange(wired, client, answer=chunks)
    assert (plain.body, plain.trailers) == (b"ok", ())
    (asked,) = await _exchange(wired, client, request(b"TE: trailers", line=b"GET /x HTTP/1.1"), chunks)
    assert (asked.body, asked.trailers) == (b"ok", (("X-Sum", "1"),))
    assert asked.get("x-sum") is None


async def test_the_reason_phrase_is_ours() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(GET)
    await wired.settle()
    wired.upstreams[0].send(b"HTTP/1.1 404 <script>\xff\r\nContent-Length: 0\r\n\r\n")
    await wired.settle()
    assert client.received.startswith(b"HTTP/1.1 404 Not Found\r\n")


async def test_interim_answers() -> None:
    wired = Wired(proxy())
    modern, old = wired.client(), wired.client()
    interim = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\nX: y\r\n\r\n"
        b"HTTP/1.1 102 Processing\r\n\r\n"
    )
    answers = await _exchange(wired, modern, answer=interim + OK)
    assert [(each.status, each.lines) for each in answers[:-1]] == [(103, (("Link", "</a.css>"),)), (102, ())]
    assert answers[-1].body == b"ok"
    assert [each.status for each in await _exchange(wired, old, request(line=b"GET /x HTTP/1.0"), interim + OK)] == [
        200
    ]


async def test_interim_answers_without_end_are_a_502() -> None:
    wired = Wired(proxy())
    client = wired.client()
    answers = await _exchange(wired, client, answer=b"HTTP/1.1 103 X\r\n\r\n" * 9 + OK)
    assert [each.status for each in answers] == [103] * 8 + [502]
    assert answers[-1].reason == "upstream_protocol"


async def test_events_are_passed_on_at_once() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(GET)
    await wired.settle()
    (upstream,) = wired.upstreams
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    await wired.settle()
    assert b"text/event-stream" in client.clear()
    for number in range(3):
        upstream.send(b"data: %d\n\n" % number)
        await wired.settle()
        assert client.clear() == b"9\r\ndata: %d\n\n\r\n" % number
    client.reset()
    await wired.settle()
    assert upstream.aborted
    assert wired.log[-1].stream == "sse"


# --- time ---------------------------------------------------------------------------------------------------------


async def test_an_upstream_that_does_not_answer() -> None:
    wired = Wired(proxy(upstream={"timeout": TimeoutSettings(head_s=2.0)}))
    client = wired.client()
    client.send(GET)
    await wired.settle()
    wired.upstreams[0].send(b"HTTP/1.1 200")
    await wired.pass_time(1.8)
    wired.upstreams[0].send(b" OK\r\n")
    await wired.pass_time(0.3)
    assert [(each.status, each.reason) for each in _answers(client)] == [(504, "upstream_timeout")]
    assert wired.upstreams[0].aborted


async def test_the_time_for_an_answer_begins_with_the_end_of_the_request() -> None:
    wired = Wired(
        proxy(upstream={"timeout": TimeoutSettings(head_s=2.0)}, route={"buffer": BufferSettings(request_bytes=0)})
    )
    client = wired.client()
    client.send(request(b"Content-Length: 5", body=b"1"))
    for byte in b"2345":
        await wired.pass_time(1.5)
        client.send(bytes([byte]))
    await wired.pass_time(1.5)
    wired.upstreams[0].send(OK)
    await wired.settle()
    assert [each.status for each in _answers(client)] == [200]


async def test_a_body_that_stops_is_cut() -> None:
    wired = Wired(proxy(upstream={"timeout": TimeoutSettings(idle_s=2.0)}))
    client = wired.client()
    client.send(GET)
    await wired.settle()
    wired.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    await wired.pass_time(1.8)
    wired.upstreams[0].send(b"d")
    await wired.pass_time(1.8)
    assert client.is_open
    await wired.pass_time(0.3)
    assert client.aborted
    assert wired.log[-1].reason in ("upstream_truncated", "upstream_timeout")


async def test_a_stream_may_be_silent_for_ever_where_the_config_says_so() -> None:
    wired = Wired(proxy(upstream={"timeout": TimeoutSettings(idle_s=None)}, route={"timeout_s": None}))
    client = wired.client()
    client.send(GET)
    await wired.settle()
    wired.upstreams[0].send(b"HTTP/1.1 200 OK\r\n\r\nabc")
    await wired.pass_time(600)
    wired.upstreams[0].send(b"def")
    await wired.settle()
    assert client.is_open
    assert b"def" in client.received


# --- tunnels ------------------------------------------------------------------------------------------------------

UPGRADE = request(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x", line=b"GET /ws HTTP/1.1")
SWITCH = b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n"


async def _tunnel(**settings: Any) -> tuple[Wired, ByteWire, ByteWire]:
    wired = Wired(proxy(**settings))
    client = wired.client()
    client.send(UPGRADE)
    await wired.settle()
    (upstream,) = wired.upstreams
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in upstream.clear()
    upstream.send(SWITCH + b"hello")
    await wired.settle()
    head, _, rest = client.clear().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket" in head
    assert rest == b"hello"
    return wired, client, upstream


async def test_bytes_go_both_ways_through_a_tunnel() -> None:
    wired, client, upstream = await _tunnel()
    client.send(b"\x81\x00GET / HTTP/1.1\r\n\r\n")
    await wired.settle()
    assert upstream.clear() == b"\x81\x00GET / HTTP/1.1\r\n\r\n"
    upstream.send(b"HTTP/1.1 200 OK\r\n\r\n")
    await wired.settle()
    assert client.clear() == b"HTTP/1.1 200 OK\r\n\r\n"


async def test_what_a_client_sends_ahead_of_the_switch_goes_through_the_tunnel() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(UPGRADE + b"early")
    await wired.settle()
    (upstream,) = wired.upstreams
    assert not upstream.clear().endswith(b"early")
    upstream.send(SWITCH)
    await wired.settle()
    assert upstream.clear() == b"early"


async def test_a_client_that_leaves_ends_the_tunnel_behind_its_last_bytes() -> None:
    wired, client, upstream = await _tunnel()
    client.send(b"bye")
    client.send_eof()
    await wired.settle()
    assert upstream.received == b"bye"
    assert upstream.closing
    assert not upstream.aborted
    assert client.lost
    assert wired.gateway.in_flight == 0
    (exchange,) = wired.log
    assert (exchange.status, exchange.reason, exchange.stream) == (101, None, "websocket")


async def test_a_tunnel_to_an_upstream_that_does_not_read_is_cut_in_the_end() -> None:
    wired, client, upstream = await _tunnel()
    upstream.blocked = True
    client.send(b"x" * 200_000)
    assert client.paused
    client.reset()
    await wired.settle()
    assert upstream.closing
    await wired.pass_time(6)
    assert upstream.aborted


@pytest.mark.parametrize("how", ["send_eof", "reset"])
async def test_an_upstream_that_leaves_ends_the_tunnel(how: str) -> None:
    wired, client, upstream = await _tunnel()
    upstream.send(b"bye")
    await wired.settle()
    getattr(upstream, how)()
    await wired.settle()
    assert client.received == b"bye"
    assert client.closing
    assert wired.gateway.in_flight == 0


async def test_a_silent_tunnel_ends_and_a_busy_one_does_not() -> None:
    wired, client, upstream = await _tunnel(upstream={"timeout": TimeoutSettings(idle_s=5.0)})
    for _ in range(4):
        await wired.pass_time(4)
        client.send(b"ping")
        await wired.pass_time(4)
        upstream.send(b"pong")
    assert client.is_open
    await wired.pass_time(6)
    assert not client.is_open
    assert not upstream.is_open


async def test_a_tunnel_outlives_a_client_that_was_slow_once() -> None:
    wired, client, upstream = await _tunnel(client=ClientSettings(body_timeout_s=3.0))
    client.blocked = True
    upstream.send(b"x" * 300_000)
    await wired.pass_time(2)
    client.unblock()
    await wired.pass_time(10)
    assert client.is_open
    assert upstream.is_open


async def test_a_tunnel_that_the_upstream_ends_but_does_not_read_is_cut_in_the_end() -> None:
    wired, client, upstream = await _tunnel()
    upstream.blocked = True
    client.send(b"x" * 1000)
    await wired.settle()
    upstream.send_eof()
    await wired.settle()
    assert client.lost
    assert not upstream.aborted
    await wired.pass_time(6)
    assert upstream.aborted


async def test_tunnels_have_backpressure_both_ways() -> None:
    wired, client, upstream = await _tunnel()
    client.blocked = True
    upstream.send(b"x" * 300_000)
    await wired.settle()
    assert upstream.paused
    client.unblock()
    await wired.settle()
    assert not upstream.paused
    upstream.blocked = True
    client.send(b"y" * 300_000)
    await wired.settle()
    assert client.paused
    upstream.unblock()
    await wired.settle()
    assert not client.paused
    assert (len(client.received), len(upstream.received)) == (300_000, 300_000)


async def test_a_declined_upgrade_is_an_answer_like_any_other() -> None:
    wired = Wired(proxy())
    client = wired.client()
    assert [each.body for each in await _exchange(wired, client, UPGRADE)] == [b"ok"]
    assert [each.body for each in await _exchange(wired, client)] == [b"ok"]
    assert len(wired.upstreams) == 1


@pytest.mark.parametrize(
    "lines",
    [
        [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"],
        [b"Connection: Upgrade", b"Upgrade: TLS/1.0"],
        [b"Upgrade: websocket"],
        [b"Connection: Upgrade", b"Upgrade: websocket, h2c"],
    ],
)
async def test_other_upgrades_are_dropped(lines: list[bytes]) -> None:
    wired = Wired(proxy())
    upstream = H11Upstream(wired)
    client = wired.client()
    client.send(request(*lines, line=b"GET /x HTTP/1.1"))
    await wired.settle()
    (seen,) = upstream.seen
    assert seen.all("upgrade") == seen.all("connection") == seen.all("http2-settings") == []
    assert [each.status for each in _answers(client)] == [200]


async def test_an_upgrade_from_http_1_0_is_dropped() -> None:
    wired = Wired(proxy())
    upstream = H11Upstream(wired)
    client = wired.client()
    client.send(UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"))
    await wired.settle()
    assert upstream.seen[0].all("upgrade") == []


@pytest.mark.parametrize(
    "switch",
    [
        b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n",
    ],
)
async def test_a_switch_to_what_was_not_asked_for_is_a_502(switch: bytes) -> None:
    wired = Wired(proxy())
    client = wired.client()
    answers = await _exchange(wired, client, UPGRADE, switch)
    assert [(each.status, each.reason) for each in answers] == [(502, "upstream_protocol")]
    assert not wired.upstreams[0].is_open


async def test_a_switch_that_nobody_asked_for_is_a_502() -> None:
    wired = Wired(proxy())
    answers = await _exchange(wired, wired.client(), GET, SWITCH)
    assert [(each.status, each.reason) for each in answers] == [(502, "upstream_protocol")]


async def test_a_request_with_body_and_upgrade_is_framed_by_its_body() -> None:
    wired = Wired(proxy(route={"buffer": BufferSettings(request_bytes=0)}))
    client = wired.client()
    client.send(request(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 10", body=b"12345"))
    await wired.settle()
    (upstream,) = wired.upstreams
    upstream.send(SWITCH)
    await wired.settle()
    assert [each.status for each in _answers(client)] == [502], "it did not wait for the body"


async def test_the_body_of_an_upgrade_is_not_held_for_the_life_of_the_tunnel() -> None:
    wired = Wired(proxy())
    client = wired.client()
    client.send(request(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 5", body=b"12345"))
    await wired.settle()
    assert wired.gateway.buffered.value == 5
    wired.upstreams[0].send(SWITCH)
    await wired.settle()
    assert client.received.startswith(b"HTTP/1.1 101 ")
    assert wired.gateway.buffered.value == 0
