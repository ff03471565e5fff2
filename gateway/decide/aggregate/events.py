"""Each source as it arrives: an event stream (WHATWG HTML, section 9.2) or lines of JSON (ndjson).

Of a source: `event: <name>`, its value as data; or `{"source": <name>, "data": <value>}`. At the end `event: _complete`
with `{"complete": true}`, or `{"complete": false, "_sources": {...}}`, and `"error"`, a problem (RFC 9457), where a
required source failed; in ndjson that object is the last line.
"""

from typing import Final

from gateway.core.json import dumps

END: Final = "_complete"
"""The last event and its id: a browser that connects again says so in Last-Event-ID, and is told to stop (204)."""
CONTENT_TYPES: Final = {"sse": "text/event-stream", "ndjson": "application/x-ndjson"}


def source_event(form: str, name: str, raw: bytes) -> bytes:
    """The value of a source; `raw` is JSON. Line ends in JSON stand between tokens only, so they can be moved."""
    if form == "sse":
        return b"event: " + name.encode() + b"\n" + _data(raw) + b"\n"
    if b"\n" in raw or b"\r" in raw:
        raw = raw.replace(b"\r", b" ").replace(b"\n", b" ")
    return b'{"source":' + dumps(name) + b',"data":' + raw + b"}\n"


def end_event(form: str, report: bytes | None, problem: bytes | None) -> bytes:
    """The last of a stream; `report` is `_sources` where the answer is not complete."""
    raw = b'{"complete":' + (b"true" if report is None and problem is None else b"false")
    if report is not None:
        raw += b',"_sources":' + report
    if problem is not None:
        raw += b',"error":' + problem
    raw += b"}"
    if form == "sse":
        return b"event: %b\nid: %b\n" % (END.encode(), END.encode()) + _data(raw) + b"\n"
    return raw + b"\n"


def _data(raw: bytes) -> bytes:
    if b"\n" not in raw and b"\r" not in raw:
        return b"data: " + raw + b"\n"
    return b"".join([b"data: " + line + b"\n" for line in raw.splitlines()])
