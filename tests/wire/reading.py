"""The wire room put together as a connection puts it together, for whole byte strings."""

from gateway.core.errors import GatewayError
from gateway.wire.chunked import ChunkDecoder
from gateway.wire.fields import CHUNKED, UNTIL_CLOSE
from gateway.wire.head import RequestFields, RequestHead, ResponseHead
from gateway.wire.limits import HeadLimits
from tests.support.peers import Reading

LIMITS = HeadLimits()


def read_requests(data: bytes) -> Reading:
    """All requests of `data`, up to the first that is refused, unfinished, or the last on its connection."""
    reading = Reading()
    try:
        while data and not reading.stopped:
            data = _read_request(data, reading)
    except GatewayError as error:
        reading.stopped = error.reason.name
    return reading


def _read_request(data: bytes, reading: Reading) -> bytes:
    skipped = 0
    while skipped < 2 and data.startswith(b"\r\n"):
        data, skipped = data[2:], skipped + 1
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return b""
    line, _, section = (head + end).partition(b"\r\n")
    request = RequestHead(line.decode("latin-1"), RequestFields(section.decode("latin-1"), LIMITS))
    length = request.fields.length
    reading.open_body = b""
    body, rest, whole = _read_body(length, rest)
    if not whole:
        reading.open_body = body
        return b""
    reading.open_body = None
    reading.messages.append((request.method, body))
    if not request.keep_alive:
        reading.stopped = "close"
    elif request.fields.upgrade is not None:
        reading.stopped = "upgrade"
    return rest


def _read_body(length: int, data: bytes) -> tuple[bytes, bytes, bool]:
    if length == CHUNKED:
        decoder = ChunkDecoder(LIMITS)
        body = decoder.feed(data)
        return body, decoder.rest, decoder.done
    return data[:length], data[length:], len(data) >= length


def read_answer(data: bytes) -> Reading:
    """Interim answers and one final answer to a GET."""
    reading = Reading()
    try:
        while True:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                return reading
            answer = ResponseHead((head + end).decode("latin-1"), LIMITS)
            if answer.status >= 200 or answer.status == 101:
                break
            reading.messages.append((str(answer.status), b""))
        length = 0 if answer.bodiless else answer.length
        if length == UNTIL_CLOSE:
            reading.open_body = data
            return reading
        body, _, whole = _read_body(length, data)
        if whole:
            reading.messages.append((str(answer.status), body))
        else:
            reading.open_body = body
    except GatewayError as error:
        reading.stopped = error.reason.name
    return reading
