"""Which form a client gets, and the events of a stream."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.aggregate.accept import wanted_form
from gateway.decide.aggregate.events import end_event, source_event


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        ("text/html", "json"),
        ("text/*", "json"),
        ("application/json", "json"),
        ("text/event-stream", "sse"),
        ("Text/Event-Stream", "sse"),
        ("application/x-ndjson", "ndjson"),
        ("text/event-stream, */*", "sse"),
        ("*/*, text/event-stream", "sse"),
        ("application/json, text/event-stream", "json"),
        ("text/event-stream, application/json", "json"),
        ("application/json;q=0.5, text/event-stream", "sse"),
        ("text/event-stream;q=0.5, application/json;q=0.4", "sse"),
        ("text/event-stream;q=0.4, application/json;q=0.5", "json"),
        ("text/event-stream;q=0.4, */*;q=0.5", "json"),
        ("text/event-stream;q=0", "json"),
        ("text/event-stream;q=0, application/x-ndjson;q=0.1", "ndjson"),
        ("text/event-stream, application/x-ndjson", "sse"),
        ("text/event-stream; charset=utf-8 ; Q=0.9, application/x-ndjson", "ndjson"),
        ("text/event-stream;q=2", "json"),
        ("text/event-stream;q=", "json"),
        ("application/*, text/event-stream;q=0.9", "json"),
        (",,text/event-stream,,", "sse"),
    ],
)
def test_the_form_that_is_wanted(accept: str | None, expected: str) -> None:
    assert wanted_form(accept) == expected


@given(st.text())
def test_any_accept_gives_a_form(accept: str) -> None:
    assert wanted_form(accept) in ("json", "sse", "ndjson")
    assert wanted_form(f"text/event-stream,{accept}") in ("json", "sse", "ndjson")


def read_sse(data: bytes) -> tuple[dict[str, str], object]:
    """The fields of one event, and its data as a browser puts it together."""
    assert data.endswith(b"\n\n")
    lines = data.decode()[:-2].split("\n")
    pairs = [line.split(": ", 1) for line in lines]
    text = "\n".join(value for name, value in pairs if name == "data")
    return {name: value for name, value in pairs if name != "data"}, json.loads(text)


@pytest.mark.parametrize("raw", [b'{"a":1}', b'{\n "a": 1\n}', b'{\r\n"a":\r1}', b'{"a":1}'.replace(b":", b":\n\n")])
def test_events_of_sources(raw: bytes) -> None:
    assert read_sse(source_event("sse", "news", raw)) == ({"event": "news"}, {"a": 1})
    line = source_event("ndjson", "news", raw)
    assert line.index(b"\n") == len(line) - 1
    assert json.loads(line) == {"source": "news", "data": {"a": 1}}


@pytest.mark.parametrize(
    ("report", "problem", "expected"),
    [
        (None, None, {"complete": True}),
        (b'{"a":1}', None, {"complete": False, "_sources": {"a": 1}}),
        (b'{"a":1}', b'{"status":502}', {"complete": False, "_sources": {"a": 1}, "error": {"status": 502}}),
        (None, b'{"status":502}', {"complete": False, "error": {"status": 502}}),
    ],
)
def test_the_last_event(report: bytes | None, problem: bytes | None, expected: object) -> None:
    fields, data = read_sse(end_event("sse", report, problem))
    assert (fields, data) == ({"event": "_complete", "id": "_complete"}, expected)
    assert json.loads(end_event("ndjson", report, problem)) == expected
