"""Results as they land: the same route as an event stream and as lines of JSON."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import ask, get
from tests.support.gateway import Gateway
from tests.support.http import read_answer
from tests.support.raw import Raw
from tests.support.stage import Stage, ok
from tests.support.upstream import Upstream
from tests.support.wait import until

CONFIG = """
upstreams: {u: UPSTREAM}
routes:
  - name: all
    match: GET /all
    headers: {response: {set: {x-made-by: gateway}}}
    aggregate:
      deadline: 20s
      merge: list
      sources:
        first: {to: u, path: /first}
        second: {to: u, path: "/second/{first.id}"}
        third: {to: u, path: /third, fallback: {old: true}}
  - name: asked
    match: GET /asked
    plugins: [{run: "badge.py:Badge"}]
    aggregate: {forward: [authorization], sources: {first: {to: u, path: /first}}}
  - name: late
    match: GET /late
    aggregate: {deadline: 300ms, sources: {first: {to: u, path: /first}, second: {to: u, path: /second}}}
  - name: required
    match: GET /required
    aggregate:
      deadline: 20s
      sources: {first: {to: u, path: /first}, second: {to: u, path: /second, required: true}}
"""
PLUGIN = """
class Badge:
    async def on_request(self, request):
        request.headers["authorization"] = "Bearer of the plugin"

    async def on_response(self, request, response):
        response.headers["x-badge"] = "seen"
"""
SSE = "Accept: text/event-stream"
LINES = "Accept: application/x-ndjson"


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


@pytest.fixture(scope="module")
def target(stage: Stage) -> Iterator[Upstream]:
    with Upstream(stage) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(target: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = Path(tmp_path_factory.mktemp("gateway"))
    (directory / "badge.py").write_text(PLUGIN)
    with Gateway(CONFIG.replace("UPSTREAM", target.url), directory) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _fresh(target: Upstream, stage: Stage) -> None:
    target.requests.clear()
    stage.reset(first=ok({"id": 1}, indent=1), second=ok([2]), third=ok("third"))


def events(body: bytes) -> list[tuple[str, Any]]:
    """(event, data) as a browser reads them."""
    found = []
    for block in body.decode().removesuffix("\n\n").split("\n\n"):
        pairs = [line.split(": ", 1) for line in block.split("\n")]
        data = "\n".join(value for name, value in pairs if name == "data")
        found.append((next(value for name, value in pairs if name == "event"), json.loads(data)))
    return found


def test_each_source_is_sent_when_it_arrives(gateway: Gateway, stage: Stage, target: Upstream) -> None:
    stage.held = {"second": asyncio.Event(), "third": asyncio.Event()}
    before = len(target.requests)
    with Raw(gateway.port) as raw:
        raw.send(ask("/all", SSE))
        head = raw.until(b"\r\n\r\n").decode()
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        for line in (
            "Content-Type: text/event-stream",
            "Cache-Control: no-store",
            "Vary: Accept",
            "x-made-by: gateway",
        ):
            assert f"{line}\r\n" in head
        assert raw.until(b"\n\n").endswith(b'event: first\ndata: {\ndata:  "id": 1\ndata: }\n\n')
        until(lambda: any(b"/second/1" in each.line for each in target.requests[before:]))
        target.run(stage.held["third"].set)
        assert b"event: third\n" in raw.until(b"\n\n")
        target.run(stage.held["second"].set)
        assert b"event: second\n" in raw.until(b"\n\n")
        assert b'event: _complete\nid: _complete\ndata: {"complete":true}\n\n' in raw.until(b"0\r\n\r\n")
        raw.send(ask("/all"))  # the connection goes on
        assert raw.answer().status == 200


def test_lines_of_json(gateway: Gateway) -> None:
    answer = get(gateway, "/all", LINES)
    assert answer.get("content-type") == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert sorted(lines[:-1], key=lambda each: str(each["source"])) == [
        {"source": "first", "data": {"id": 1}},
        {"source": "second", "data": [2]},
        {"source": "third", "data": "third"},
    ]
    assert lines[-1] == {"complete": True}


def test_what_failed_stands_in_the_last_event(gateway: Gateway, stage: Stage) -> None:
    stage.acts["first"] = ok("no", 500)
    stage.acts["third"] = b"HTTP/1.1 200 X\r\nContent-Length: 1\r\n\r\n{"
    found = events(get(gateway, "/all", SSE).body)
    assert found[:-1] == [("third", {"old": True})]
    name, last = found[-1]
    assert (name, last["complete"]) == ("_complete", False)
    assert {source: each["reason"] for source, each in last["_sources"].items()} == {
        "first": "status",
        "second": "dependency",
        "third": "not_json",
    }


def test_the_stream_ends_at_the_deadline(gateway: Gateway, stage: Stage) -> None:
    stage.held = {"second": asyncio.Event()}
    found = events(get(gateway, "/late", SSE).body)
    assert found[0] == ("first", {"id": 1})
    assert found[1][1]["_sources"]["second"]["reason"] == "upstream_timeout"
    until(lambda: stage.gone == 1)


def test_a_required_source_that_fails_first_is_an_answer_of_its_own(gateway: Gateway, stage: Stage) -> None:
    stage.held = {"first": asyncio.Event()}
    stage.acts["second"] = ok("no", 500)
    answer = get(gateway, "/required", SSE)
    assert (answer.status, answer.reason) == (502, "aggregate_required_failed")
    assert json.loads(answer.body)["detail"] == "the required source second failed: its status is 500"
    until(lambda: stage.gone == 1)


def test_a_required_source_that_fails_later_is_told_in_the_last_event(
    gateway: Gateway, stage: Stage, target: Upstream
) -> None:
    stage.held = {"second": asyncio.Event()}
    stage.acts["second"] = ok("no", 500)
    with Raw(gateway.port) as raw:
        raw.send(ask("/required", SSE))
        raw.until(b"\n\n")
        target.run(stage.held["second"].set)
        last = raw.until(b"\n\n").partition(b"event: ")[2]
        ((name, data),) = events(b"event: " + last)
    assert (name, data["complete"]) == ("_complete", False)
    assert (data["error"]["type"], data["error"]["status"]) == ("urn:gateway:aggregate_required_failed", 502)
    line = until(
        lambda: next((e for e in gateway.access_log() if e["request_id"] == data["error"]["request_id"]), None)
    )
    assert (line["status"], line["reason"], line["stream"]) == (200, "aggregate_required_failed", "sse")


def test_a_client_that_leaves_a_stream_cancels_the_rest(gateway: Gateway, stage: Stage) -> None:
    stage.held = {"second": asyncio.Event(), "third": asyncio.Event()}
    with Raw(gateway.port) as raw:
        raw.send(ask("/all", SSE)).until(b"\n\n")
    until(lambda: stage.gone == 2)


def test_a_slow_client_holds_back_its_stream_and_nothing_else(gateway: Gateway, stage: Stage) -> None:
    large = ["x" * 1000] * 5000
    stage.acts["first"] = stage.acts["third"] = ok({"id": 1, "all": large})
    with Raw(gateway.port, receive_buffer=65536) as raw:
        raw.send(ask("/all", SSE, "Connection: close"))
        until(lambda: gateway.metric("gateway_buffered_bytes") > 4 << 20)
        assert get(gateway, "/late").status == 200
        answer, _ = read_answer(b"".join(raw.pieces()), "GET", True)
    found = events(answer.body)
    assert [name for name, _ in found][-1] == "_complete"
    assert dict(found)["first"]["all"] == dict(found)["third"]["all"] == large
    until(lambda: gateway.metric("gateway_buffered_bytes") == 0)


def test_a_browser_that_connects_again_behind_the_end_is_told_to_stop(gateway: Gateway, target: Upstream) -> None:
    answer = get(gateway, "/all", SSE, "Last-Event-ID: _complete")
    assert (answer.status, answer.body) == (204, b"")
    assert target.requests == []


def test_head_of_a_stream_asks_nobody(gateway: Gateway, target: Upstream) -> None:
    answer = get(gateway, "/all", SSE, method="HEAD")
    assert (answer.status, answer.get("content-type"), answer.body) == (200, "text/event-stream", b"")
    assert target.requests == []


def test_an_old_client_gets_the_stream_until_the_connection_closes(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        data = raw.send(b"GET /all HTTP/1.0\r\nHost: a\r\nAccept: application/x-ndjson\r\n\r\n").rest()
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert json.loads(body.splitlines()[-1]) == {"complete": True}


@pytest.mark.parametrize("accept", ["Accept: */*", SSE])
def test_plugins_are_asked_first_and_told_of_the_answer(gateway: Gateway, target: Upstream, accept: str) -> None:
    answer = get(gateway, "/asked", accept, "Authorization: Bearer of the client")
    assert (answer.status, answer.get("x-badge")) == (200, "seen")
    assert b'"id": 1' in answer.body
    assert target.requests[-1].fields("authorization") == ["Bearer of the plugin"]
