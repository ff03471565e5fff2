"""Mutated messages: what we take, llhttp and h11 frame in the same way, or are stricter in a way that is known here.

`FUZZ=1000000 FUZZ_SEED=7 pytest tests/wire/test_fuzz.py --timeout 3600` runs it longer, on other messages.
"""

import os
import re
from collections.abc import Callable

import pytest

from tests.support.bad_answers import BROKEN_ANSWER_BODIES, REFUSED_ANSWER_HEADS, TAKEN_ANSWERS
from tests.support.bad_requests import REFUSED_REQUESTS, TAKEN_REQUESTS
from tests.support.mutations import mutated
from tests.support.peers import Reading, h11_answer, h11_requests, llhttp_answers, llhttp_requests
from tests.wire.reading import read_answer, read_requests

COUNT = int(os.environ.get("FUZZ", "100000")) // 2
SEED = int(os.environ.get("FUZZ_SEED", "1"))

REQUESTS = [row.data for row in TAKEN_REQUESTS] * 20 + [row.data for row in REFUSED_REQUESTS if len(row.data) < 2000]
ANSWERS = [row.data for row in TAKEN_ANSWERS] * 20 + [
    row.data for row in REFUSED_ANSWER_HEADS + BROKEN_ANSWER_BODIES if len(row.data) < 2000
]

STRICTER = {
    "llhttp": re.compile(
        # It knows a closed list of methods; we take every upper-case token, and the route decides.
        r"Invalid method encountered|Expected space after method|"
        # We take blanks around `chunked` (OWS, RFC 9110 5.5), which it takes for another coding.
        r"Request has invalid `Transfer-Encoding`|"
        # We skip extensions whatever they say and write none; it checks their grammar.
        r"Invalid character in chunk extension|"
        # It reads trailers as if they were headers; we keep them apart and drop these.
        r"Invalid `Transfer-Encoding` header value|Content-Length can't be present with Transfer-Encoding|"
        r"Transfer-Encoding can't be present with Content-Length|Invalid character in Content-Length|"
        r"Content-Length overflow|"
        # `Connection: close` in an interim answer: it expects nothing behind it; the final answer is still to come.
        r"Data after `Connection: close`"
    ),
    "h11": re.compile(
        # It skips no empty lines ahead of a request (RFC 9112 2.2: a server should).
        r"no request line received|"
        # It checks trailers as if they framed something; we drop these.
        r"Only Transfer-Encoding: chunked is supported|multiple Transfer-Encoding headers|bad Content-Length|"
        r"conflicting Content-Length headers"
    ),
}
OTHERWISE = {
    # It takes a tab beside `chunked` (OWS, RFC 9110 5.5) for part of another coding, and the answer lasts until close.
    # It gives a body to interim answers that it does not know (RFC 9112 6.3: no 1xx has one).
    "llhttp": re.compile(
        rb"(?i)\r\ntransfer-encoding:(?:[ \t]*\t[ \t]*chunked|[ \t]*chunked[ \t]*\t)|HTTP/1\.[01] 1(?!0[0-3])[0-9]{2}"
    ),
    # It keeps no HTTP/1.0 connection, whatever Connection says.
    "h11": re.compile(rb"HTTP/1\.0"),
}
"""Bytes in whose presence a peer reads on in another way; what we send on is framed anew, so nobody behind us can."""
NO_PEER_FOLLOWS = {"upgrade", "CONNECT"}
"""Where a parser leaves HTTP behind. llhttp does at `Upgrade` (even with a body before it), which we never do."""


def _agree(name: str, ours: Reading, peer: Reading, data: bytes) -> int:
    """How many messages both saw alike; raises where the peer frames what we took in another way."""
    if OTHERWISE[name].search(data):
        return sum(mine == theirs for mine, theirs in zip(ours.messages, peer.messages, strict=False))
    for at, message in enumerate(ours.messages):
        if at < len(peer.messages):
            if peer.messages[at] != message:
                assert (name, peer.stopped) == ("llhttp", "upgrade"), (name, message, peer, data)
                return at
        elif peer.stopped in NO_PEER_FOLLOWS:
            return at
        else:
            assert STRICTER[name].search(peer.stopped), (name, message, peer, data)
            return at
    if ours.open_body is not None and not ours.stopped and not peer.stopped:
        assert peer.messages == ours.messages, (name, ours, peer, data)
        assert peer.open_body == ours.open_body, (name, ours, peer, data)
    return len(ours.messages)


def _compare(
    ours: Callable[[bytes], Reading], peers: dict[str, Callable[[bytes], Reading]], messages: list[bytes]
) -> None:
    taken = dict.fromkeys(peers, 0)
    alike = dict.fromkeys(peers, 0)
    for data in mutated(SEED, COUNT, messages):
        reading = ours(data)
        if reading.messages or reading.open_body:
            for name, peer in peers.items():
                taken[name] += len(reading.messages)
                alike[name] += _agree(name, reading, peer(data), data)
    for name in peers:
        assert taken[name] > COUNT / 4, "the mutations leave enough to compare"
        assert alike[name] > 0.85 * taken[name], (name, alike, taken)


@pytest.mark.timeout(3600)
def test_requests_are_framed_as_others_frame_them() -> None:
    _compare(read_requests, {"llhttp": llhttp_requests, "h11": h11_requests}, REQUESTS)


@pytest.mark.timeout(3600)
def test_answers_are_framed_as_others_frame_them() -> None:
    _compare(read_answer, {"llhttp": llhttp_answers, "h11": h11_answer}, ANSWERS)


@pytest.mark.parametrize("row", TAKEN_REQUESTS, ids=str)
def test_requests_that_are_taken_are_taken_by_others(row: object) -> None:
    data = row.data  # type: ignore[attr-defined]
    ours = read_requests(data)
    assert len(ours.messages) == 1
    for name, peer in {"llhttp": llhttp_requests, "h11": h11_requests}.items():
        _agree(name, ours, peer(data), data)
