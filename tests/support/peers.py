"""How others read the same bytes: llhttp (through httptools) and h11."""

from dataclasses import dataclass, field

import h11
import httptools

Message = tuple[str, bytes]
"""(method or status, body)"""


@dataclass(slots=True)
class Reading:
    """What one parser made of some bytes: the messages that ended, then what became of the rest.

    `stopped` says why it reads no further: an error's name, `upgrade`, `close`; empty where it waits for more.
    `open_body` is the body so far of a message that has not ended.
    """

    messages: list[Message] = field(default_factory=list)
    stopped: str = ""
    open_body: bytes | None = None


class _Callbacks:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.parser: httptools.HttpRequestParser | httptools.HttpResponseParser | None = None
        self._name = ""

    def on_message_begin(self) -> None:
        self._reading.open_body = b""

    def on_headers_complete(self) -> None:
        parser = self.parser
        request = isinstance(parser, httptools.HttpRequestParser)
        self._name = parser.get_method().decode() if request else str(parser.get_status_code())

    def on_body(self, data: bytes) -> None:
        self._reading.open_body = (self._reading.open_body or b"") + data

    def on_message_complete(self) -> None:
        self._reading.messages.append((self._name, self._reading.open_body or b""))
        self._reading.open_body = None


def _llhttp(kind: type, data: bytes) -> Reading:
    reading = Reading()
    callbacks = _Callbacks(reading)
    callbacks.parser = kind(callbacks)
    try:
        callbacks.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        reading.stopped = "upgrade"
    except httptools.HttpParserError as error:
        reading.stopped = str(error) or type(error).__name__
    return reading


def llhttp_requests(data: bytes) -> Reading:
    return _llhttp(httptools.HttpRequestParser, data)


def llhttp_answers(data: bytes) -> Reading:
    return _llhttp(httptools.HttpResponseParser, data)


def h11_requests(data: bytes) -> Reading:
    """As a server that answers each request with an empty 200."""
    reading = Reading()
    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    peer.receive_data(data)
    method = ""
    try:
        while True:
            event = peer.next_event()
            if event is h11.NEED_DATA:
                return reading
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                reading.stopped = "close"
                return reading
            if isinstance(event, h11.Request):
                method, reading.open_body = event.method.decode(), b""
                if method == "CONNECT":
                    reading.stopped = "CONNECT"
                    return reading
            elif isinstance(event, h11.Data):
                reading.open_body = (reading.open_body or b"") + bytes(event.data)
            else:
                reading.messages.append((method, reading.open_body or b""))
                reading.open_body = None
                peer.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                peer.send(h11.EndOfMessage())
                if peer.our_state is not h11.DONE or peer.their_state is not h11.DONE:
                    reading.stopped = "close"
                    return reading
                peer.start_next_cycle()
    except h11.RemoteProtocolError as error:
        reading.stopped = str(error)
    return reading


def h11_answer(data: bytes) -> Reading:
    """As a client that sent one GET: interim answers, and one final."""
    reading = Reading()
    peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    peer.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(data)
    status = ""
    try:
        while True:
            event = peer.next_event()
            if event is h11.NEED_DATA:
                return reading
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                reading.stopped = "close"
                return reading
            if isinstance(event, h11.InformationalResponse):
                reading.messages.append((str(event.status_code), b""))
            elif isinstance(event, h11.Response):
                status, reading.open_body = str(event.status_code), b""
            elif isinstance(event, h11.Data):
                reading.open_body = (reading.open_body or b"") + bytes(event.data)
            else:
                reading.messages.append((status, reading.open_body or b""))
                reading.open_body = None
                return reading
    except h11.RemoteProtocolError as error:
        reading.stopped = str(error)
    return reading
