"""The thread's side of a WSGI call: PEP 3333 to the letter, and when a turn ends."""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from gateway.pipeline.apps import turns as turns_module
from gateway.pipeline.apps.turns import AHEAD_BYTES, ClientLeft, Turns
from tests.support.wait import until

StartResponse = Callable[..., Callable[[bytes], None]]


class Body:
    """An answer that counts its closes."""

    def __init__(self, pieces: Iterable[Any]) -> None:
        self._pieces = iter(pieces)
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        return self._pieces

    def close(self) -> None:
        self.closed += 1


class Call:
    """One call of `app`, with what it told of itself."""

    def __init__(self, app: Callable[[dict[str, Any], StartResponse], Any], method: str = "GET") -> None:
        self.woken = 0
        self.turns = Turns(app, {"REQUEST_METHOD": method}, "site:app", self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Turn after turn, as a client that takes all at once."""
        body = b""
        while not self.turns.finished:
            self.turns()
            data = self.turns.take()
            self.turns.taken(len(data))
            body += data
        return self.turns.status, dict(self.turns.headers.items()), body


def answering(*pieces: Any, status: str = "200 OK", headers: Iterable[tuple[str, str]] = ()) -> Any:
    """An application with that answer, as an iterator."""

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[Any]:
        start_response(status, list(headers))
        return iter(pieces)

    return app


def test_an_answer_in_one_turn() -> None:
    call = Call(answering(b"a", b"", b"b", headers=[("X-A", "1"), ("X-B", "2")]))
    call.turns()
    assert call.turns.finished
    assert (call.turns.status, call.turns.headers.items()) == (200, [("X-A", "1"), ("X-B", "2")])
    assert call.turns.take() == b"ab"
    assert call.turns.take() == b""


@pytest.mark.parametrize("status", ["200 OK", "200", "404 ", "599 Odd Phrase", "301 Moved: there"])
def test_statuses(status: str) -> None:
    assert Call(answering(b"", status=status)).answer()[0] == int(status[:3])


@pytest.mark.parametrize("status", ["", "OK", "20 OK", "2000 OK", "100 Continue", "600 x", "²00 OK", "+20 OK"])
def test_what_is_no_status(status: str) -> None:
    with pytest.raises(ValueError, match="is not the status of an answer"):
        Call(answering(b"", status=status)).answer()


@pytest.mark.parametrize("field", [("X A", "1"), ("X", "1\r\nY: 2"), ("X", "a\nb"), ("", "1"), ("X", "\x00")])
def test_fields_that_no_head_can_hold(field: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="header field"):
        Call(answering(b"", headers=[field])).answer()


@pytest.mark.parametrize("piece", ["text", bytearray(b"x"), 5, None])
def test_pieces_that_are_not_bytes(piece: object) -> None:
    with pytest.raises(TypeError, match="made of bytes, not of"):
        Call(answering(piece)).answer()


def test_start_response_may_be_called_by_the_first_next() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("201 Created", [])
        yield b"late"

    assert Call(app).answer() == (201, {}, b"late")


def test_start_response_is_needed() -> None:
    with pytest.raises(RuntimeError, match="before the first piece"):
        Call(lambda environ, start_response: [b"x"]).answer()
    with pytest.raises(RuntimeError, match="without calling start_response"):
        Call(lambda environ, start_response: []).answer()


def test_start_response_twice() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        start_response("500 Oops", [])
        return []

    with pytest.raises(AssertionError, match="second time"):
        Call(app).answer()


def failing(before: bytes) -> Any:
    """An application that finds out late that it fails, and says so with exc_info."""

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("X-First", "1")])
        yield before
        try:
            raise LookupError("lost")
        except LookupError:
            start_response("500 Oops", [("X-Second", "1")], sys.exc_info())
        yield b"sorry"

    return app


def test_exc_info_replaces_a_head_that_was_not_sent() -> None:
    assert Call(failing(b"")).answer() == (500, {"X-Second": "1"}, b"sorry")


def test_exc_info_is_raised_again_where_the_head_is_out() -> None:
    with pytest.raises(LookupError, match="lost"):
        Call(failing(b"x")).answer()


def test_write_goes_ahead_of_the_iterable() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"a")
        write(b"b")
        return [b"c"]

    assert Call(app).answer() == (200, {}, b"abc")


def test_write_waits_for_a_client_that_is_behind_and_hears_that_it_left() -> None:
    heard = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [])
        write(bytes(AHEAD_BYTES - 1))
        heard.append("first")
        write(b"x")
        heard.append("second")
        try:
            write(bytes(AHEAD_BYTES))
        except ClientLeft:
            heard.append("left")
            raise
        return []

    call = Call(app)

    def turn() -> None:
        with pytest.raises(ClientLeft):
            call.turns()

    thread = threading.Thread(target=turn)
    thread.start()
    until(lambda: heard == ["first"] and call.turns._waiting == AHEAD_BYTES)
    call.turns.taken(len(call.turns.take()))
    until(lambda: heard == ["first", "second"])
    assert not call.turns.stop()
    thread.join(10)
    assert heard[-1] == "left"


@pytest.mark.parametrize(("length", "pieces"), [("3", (b"ab", b"cd")), ("5", (b"ab", b"cd")), ("1", ())])
def test_a_content_length_that_does_not_hold(length: str, pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="Content-Length"):
        Call(answering(*pieces, headers=[("Content-Length", length)])).answer()
    with pytest.raises(ValueError, match="which is no number"):
        Call(answering(headers=[("Content-Length", "x" + length)])).answer()


def test_answers_without_a_body_may_state_the_length_of_one() -> None:
    head = [("Content-Length", "5")]
    assert Call(answering(headers=head), "HEAD").answer()[0] == 200
    assert Call(answering(headers=head, status="304 Not Modified")).answer()[0] == 304


def test_close_is_called_once_at_the_end_and_after_an_error() -> None:
    good, bad = Body([b"a", b"b"]), Body([b"a", 5])
    for body in (good, bad):

        def app(environ: dict[str, Any], start_response: StartResponse, body: Body = body) -> Body:
            start_response("200 OK", [])
            return body

        call = Call(app)
        if body is good:
            call.answer()
        else:
            with pytest.raises(TypeError):
                call.turns()
        assert not call.turns.stop()
        call.turns.close()
        assert body.closed == 1


def test_close_of_an_answer_that_is_stopped_between_turns() -> None:
    body = Body(bytes(AHEAD_BYTES) for _ in range(3))

    def app(environ: dict[str, Any], start_response: StartResponse) -> Body:
        start_response("200 OK", [])
        return body

    call = Call(app)
    call.turns()
    assert body.closed == 0
    assert call.turns.stop()
    call.turns()  # a turn that waited in the queue does nothing any more
    assert body.closed == 0
    call.turns.close()
    call.turns.close()
    assert body.closed == 1


def test_close_of_an_answer_that_is_stopped_in_a_turn() -> None:
    at, go_on = threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"a"
        at.set()
        assert go_on.wait(10)
        yield b"b"
        raise AssertionError("asked for more than was wanted")

    body = Body(pieces())

    def app(environ: dict[str, Any], start_response: StartResponse) -> Body:
        start_response("200 OK", [])
        return body

    call = Call(app)
    thread = threading.Thread(target=call.turns)
    thread.start()
    assert at.wait(10)
    assert not call.turns.stop(), "the thread closes it"
    call.turns.close()
    assert body.closed == 0, "not while it is in use"
    go_on.set()
    thread.join(10)
    assert body.closed == 1
    assert not call.turns.finished


def test_an_error_in_close_is_not_the_answers(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Body):
        def close(self) -> None:
            super().close()
            raise OSError("no")

    body = Stubborn([b"x"])

    def app(environ: dict[str, Any], start_response: StartResponse) -> Body:
        start_response("200 OK", [])
        return body

    assert Call(app).answer() == (200, {}, b"x")
    assert body.closed == 1
    assert "site:app: close() of its answer failed" in caplog.text


def test_a_turn_ends_when_enough_waits() -> None:
    piece = bytes(AHEAD_BYTES // 4)
    call = Call(answering(*[piece] * 9))
    call.turns()
    assert not call.turns.finished
    assert not call.turns.has_room
    data = call.turns.take()
    assert len(data) == AHEAD_BYTES
    call.turns.taken(AHEAD_BYTES // 4)
    assert not call.turns.has_room
    call.turns.taken(AHEAD_BYTES // 4)
    assert call.turns.has_room
    call.turns.taken(AHEAD_BYTES // 2)
    assert len(call.answer()[2]) == 5 * len(piece)


def test_a_turn_ends_when_others_have_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "TURN_S", -1.0)
    call = Call(answering(b"a", b"b", b"c"))
    seen = []
    while not call.turns.finished:
        call.turns()
        seen.append(call.turns.take())
    assert seen == [b"a", b"b", b"c", b""]


def test_all_turns_share_their_variables() -> None:
    name: ContextVar[str] = ContextVar("name")
    seen = []

    def pieces() -> Iterator[bytes]:
        token = name.set("mine")
        yield bytes(AHEAD_BYTES)
        seen.append((name.get(), threading.get_ident()))
        name.reset(token)  # fails in any other context than that of `set`

    call = Call(lambda environ, start_response: start_response("200 OK", []) and pieces())
    for _ in range(2):
        thread = threading.Thread(target=call.turns)
        thread.start()
        thread.join(10)
        call.turns.taken(len(call.turns.take()))
    assert call.turns.finished
    assert [value for value, _ in seen] == ["mine"]


def test_who_waits_is_woken_for_a_piece_only_where_more_is_made() -> None:
    cases = {
        "an iterator": (answering(b"a", b"b"), 1),
        "a list is there at once": (lambda environ, start: start("200 OK", []) and [b"a", b"b"], 0),
        "nothing is missing": (answering(b"ab", headers=[("Content-Length", "2")]), 0),
        "something is missing": (answering(b"ab", b"c", headers=[("Content-Length", "3")]), 1),
    }
    for name, (app, expected) in cases.items():
        call = Call(app)
        call.turns()
        assert call.woken == expected, name


def test_executors_call_it_by_the_name_of_the_application() -> None:
    from gateway.executors.work import label_of

    assert label_of(Call(answering()).turns) == "site:app"
