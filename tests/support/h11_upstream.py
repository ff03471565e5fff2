"""An upstream on byte wires that reads requests with h11: an opinion of its own on where they end."""

from collections.abc import Callable
from dataclasses import dataclass

import h11

from tests.support.wired import ByteWire, Wired

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Seen:
    """One whole request."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.fields if each == name.lower()]


class H11Upstream:
    """Answers every whole request on every connection with `answer`; `seen` holds them in order."""

    def __init__(self, wired: Wired, answer: bytes | Callable[[Seen], bytes] = OK) -> None:
        self.answer = answer
        self.seen: list[Seen] = []
        wired.on_upstream = self._accept

    def _accept(self, wire: ByteWire) -> None:
        _Conversation(self, wire)


class _Conversation:
    def __init__(self, upstream: H11Upstream, wire: ByteWire) -> None:
        self._upstream = upstream
        self._wire = wire
        self._h11 = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = b""
        wire.on_write = self._on_write

    def _on_write(self, data: bytes) -> None:
        self._h11.receive_data(data)
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return
            if isinstance(event, h11.Request):
                self._request, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            else:
                self._end()

    def _end(self) -> None:
        request = self._request
        assert request is not None
        seen = Seen(
            request.method.decode(),
            request.target.decode("latin-1"),
            tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers),
            self._body,
        )
        upstream = self._upstream
        upstream.seen.append(seen)
        # h11 has to think that it answered, before it reads the next request.
        self._h11.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        self._h11.send(h11.EndOfMessage())
        if self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
        answer = upstream.answer if isinstance(upstream.answer, bytes) else upstream.answer(seen)
        self._wire.send(answer)
