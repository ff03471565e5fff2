"""Many upstreams in one answer, over real sockets: what a client, the upstreams, the log and the metrics see."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.asking import get, line_of
from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.stage import Act, Stage, ok, whole
from tests.support.upstream import Recorded, Upstream, Wire
from tests.support.wait import until

ACCOUNT = {"name": "Ada", "region": "north/south & co", "id": 7, "tags": ["x", "y"]}
LARGE = [{"id": number, "name": "x" * 80} for number in range(6000)]
CONFIG = """
upstreams: {u: UPSTREAM, away: "http://127.0.0.1:1"}
routes:
  - name: portfolio
    match: GET /portfolio/{user}
    headers: {request: {set: {x-tier: gold}}, response: {set: {x-made-by: gateway}}}
    aggregate:
      deadline: 5s
      forward: [authorization, x-trace]
      sources:
        account: {to: u, path: "/account/{user}", required: true}
        equities: {to: u, path: /equities, pick: "data[*].symbol", timeout: 4s}
        news: {to: u, path: "/news/{account.region}?for={account.region}", headers: {x-user: "{account.name}"}}
        risk:
          to: u
          method: POST
          path: /risk
          body: {account: "{account.id}", symbols: "{equities}", note: "of {user}", all: "{account}"}
  - name: partial
    match: GET /partial
    aggregate:
      deadline: 400ms
      sources:
        good: {to: u, path: /good}
        bad: {to: u, path: /bad}
        stand-in: {to: u, path: /bad, fallback: {none: true}}
        behind: {to: u, path: "/behind/{bad.id}"}
        behind-stand-in: {to: u, path: "/behind/{stand-in.none}"}
  - name: required
    match: GET /required
    aggregate:
      deadline: 400ms
      sources:
        good: {to: u, path: /good}
        slow: {to: u, path: /slow}
        bad: {to: u, path: /bad}
        behind: {to: u, path: "/behind/{bad.id}", required: true}
  - name: away
    match: GET /away
    aggregate: {deadline: 1s, sources: {gone: {to: away, path: /}, good: {to: u, path: /good}}}
  - name: timeout
    match: GET /timeout
    aggregate:
      deadline: 20s
      sources: {good: {to: u, path: /good}, slow: {to: u, path: /slow, timeout: 150ms, fallback: []}}
  - name: flat
    match: GET /flat
    aggregate:
      merge: flat
      sources: {one: {to: u, path: /one, rename: {ccy: currency}}, two: {to: u, path: /two}}
  - name: list
    match: GET /list
    aggregate:
      merge: list
      sources: {one: {to: u, path: /one}, two: {to: u, path: /bad}, three: {to: u, path: /two}}
  - name: shape
    match: GET /shape/{user}
    aggregate:
      sources: {one: {to: u, path: /one}, two: {to: u, path: /two}}
      shape: {user: "{user}", price: "{one.price}", both: ["{one}", "{two.list.0}"], nothing: "{two.nothing}"}
  - name: large
    match: GET /large
    aggregate:
      deadline: 20s
      sources:
        big: {to: u, path: /large}
        second: {to: u, path: /large, pick: "[-1]"}
        one: {to: u, path: /one}
        after: {to: u, path: "/after/{big.1.id}"}
  - name: large-shape
    match: GET /large-shape
    aggregate:
      deadline: 20s
      sources: {big: {to: u, path: /large}}
      shape: {last: "{big.5999}", all: "{big}"}
  - name: limit
    match: GET /limit
    aggregate: {deadline: 20s, sources: {big: {to: u, path: /huge}, one: {to: u, path: /one}}}
"""


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


@pytest.fixture(scope="module")
def target(stage: Stage) -> Iterator[Upstream]:
    with Upstream(stage) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(target: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(CONFIG.replace("UPSTREAM", target.url), Path(tmp_path_factory.mktemp("gateway"))) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _fresh(target: Upstream, stage: Stage) -> None:
    target.requests.clear()
    stage.reset(
        account=ok(ACCOUNT),
        equities=ok({"data": [{"symbol": "ACME"}, {"symbol": "INIT"}]}),
        news=ok(["headline"]),
        risk=ok({"score": 0.10}),
        good=ok({"good": True}),
        behind=ok("behind"),
        one=ok({"price": 10.5, "ccy": "EUR"}),
        two=ok({"price": 11, "list": [{"deep": 1}]}),
        large=ok(LARGE),
        after=ok("after"),
        slow=stage.hang,
    )


def asked(target: Upstream, name: str) -> Recorded:
    (found,) = [each for each in target.requests if each.line.split(b" ")[1].startswith(f"/{name}".encode())]
    return found


def test_sources_are_joined_by_name_and_references_carry_values(gateway: Gateway, target: Upstream) -> None:
    answer = get(
        gateway, "/portfolio/ada%20l", "Authorization: Bearer x", "X-Trace: 1", "Cookie: secret=1", "X-Other: 2"
    )
    assert (answer.status, answer.get("x-gateway-complete")) == (200, "true")
    assert (answer.get("content-type"), answer.get("vary")) == ("application/json", "Accept")
    assert answer.get("x-made-by") == "gateway"
    assert json.loads(answer.body) == {
        "account": ACCOUNT,
        "equities": ["ACME", "INIT"],
        "news": ["headline"],
        "risk": {"score": 0.1},
    }
    assert b'{"score": 0.1}' in answer.body
    assert asked(target, "account").line == b"GET /account/ada%20l HTTP/1.1"
    region = b"north%2Fsouth%20%26%20co"
    assert asked(target, "news").line == b"GET /news/" + region + b"?for=" + region + b" HTTP/1.1"
    risk = asked(target, "risk")
    assert risk.line == b"POST /risk HTTP/1.1"
    assert json.loads(risk.body) == {"account": 7, "symbols": ["ACME", "INIT"], "note": "of ada l", "all": ACCOUNT}
    assert risk.fields("content-type") == ["application/json"]


def test_fields_of_the_client_go_only_where_they_are_listed(gateway: Gateway, target: Upstream) -> None:
    answer = get(
        gateway, "/portfolio/ada", "Authorization: Bearer x", "X-Trace: 1", "Cookie: secret=1", "Accept-Encoding: gzip"
    )
    assert len(target.requests) == 4
    for each in target.requests:
        assert each.fields("authorization") == ["Bearer x"]
        assert each.fields("x-trace") == ["1"]
        assert each.fields("x-tier") == ["gold"]
        assert each.fields("cookie") == []
        assert each.fields("accept-encoding") == ["identity"]
        assert each.fields("accept") == ["application/json"]
        assert each.fields("x-forwarded-for") == ["127.0.0.1"]
        assert each.fields("x-forwarded-host") == ["shop.test"]
        assert each.fields("x-request-id") == [answer.get("x-request-id")]
        assert each.fields("host") == [target.address]
    assert asked(target, "news").fields("x-user") == ["Ada"]


def test_sources_that_wait_for_nobody_are_asked_side_by_side(gateway: Gateway, stage: Stage) -> None:
    both = asyncio.Barrier(2)

    async def together(wire: Wire, recorded: Recorded) -> None:
        await both.wait()  # nobody is answered before both have asked
        await wire.send(ok({}))

    stage.acts["account"] = stage.acts["equities"] = together
    assert get(gateway, "/portfolio/7").status == 200


def test_the_log_and_the_metrics_tell_of_each_source(gateway: Gateway) -> None:
    answer = get(gateway, "/away")
    assert json.loads(answer.body)["good"] == {"good": True}
    line = line_of(gateway, answer)
    assert (line["route"], line["source"], line["upstream"], line["status"]) == ("away", "aggregate", None, 200)
    assert line["sources"]["good"]["status"] == 200
    assert line["sources"]["good"]["reason"] is None
    assert line["sources"]["gone"]["reason"] == "connect_refused"
    assert 0 <= line["overhead_ms"] <= line["duration_ms"]
    until(lambda: gateway.metric("gateway_aggregate_responses_total", route="away", completeness="partial") == 1)
    assert gateway.metric("gateway_aggregate_sources_total", route="away", source="good", outcome="ok") == 1
    assert (
        gateway.metric("gateway_aggregate_sources_total", route="away", source="gone", outcome="connect_refused") == 1
    )
    assert gateway.metric("gateway_http_requests_total", route="away", source="aggregate", code="200") == 1


async def cut(wire: Wire, recorded: Recorded) -> None:
    await wire.send(b"HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\n{")
    wire.close()
    raise EOFError


async def reset(wire: Wire, recorded: Recorded) -> None:
    wire.reset()
    raise EOFError


@pytest.mark.parametrize(
    ("act", "status", "reason"),
    [
        (whole(b"<html>"), 200, "not_json"),
        (whole(b""), 200, "not_json"),
        (whole(b'{"x": 1'), 200, "not_json"),
        (whole(b'{"x": 1}', 503), 503, "status"),
        (whole(b'{"x": 1}', 404), 404, "status"),
        (whole(b"{}", 302), 302, "status"),
        (b"HTTP/1.1 200 X\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", None, "upstream_protocol"),
        (b"nonsense\r\n\r\n", None, "upstream_protocol"),
        (cut, 200, "upstream_reset"),
        (reset, None, "upstream_reset"),
    ],
)
def test_a_bad_answer_is_the_failure_of_its_source_alone(
    gateway: Gateway, stage: Stage, act: Act, status: int | None, reason: str
) -> None:
    stage.acts["bad"] = act
    answer = get(gateway, "/partial")
    assert (answer.status, answer.get("x-gateway-complete")) == (200, "false")
    body = json.loads(answer.body)
    failed = body.pop("_sources")
    assert body == {"good": {"good": True}, "stand-in": {"none": True}, "behind-stand-in": "behind"}
    assert (failed["bad"]["status"], failed["bad"]["reason"]) == (status, reason)
    assert (set(failed), failed["stand-in"]["reason"]) == ({"bad", "stand-in", "behind"}, reason)
    assert (failed["behind"]["status"], failed["behind"]["reason"]) == (None, "dependency")


def test_no_content_is_null_and_chunks_are_one_text(gateway: Gateway, stage: Stage) -> None:
    stage.acts["good"] = b"HTTP/1.1 204 No Content\r\n\r\n"
    stage.acts["bad"] = b'HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"i\r\n5\r\nd":1}\r\n0\r\n\r\n'
    answer = get(gateway, "/partial")
    assert json.loads(answer.body) == {
        "good": None,
        "bad": {"id": 1},
        "stand-in": {"id": 1},
        "behind": "behind",
        "_sources": {"behind-stand-in": {"status": None, "reason": "reference", "ms": 0.0}},
    }


def test_what_hangs_is_left_out_at_the_deadline_and_cut(gateway: Gateway, stage: Stage) -> None:
    get(gateway, "/away")  # the loop is warm
    stage.acts["bad"] = stage.hang
    began = time.monotonic()
    answer = get(gateway, "/partial")
    assert 0.39 <= time.monotonic() - began < 1.5
    body = json.loads(answer.body)
    assert body["good"] == {"good": True}
    assert body["stand-in"] == {"none": True}
    assert body["_sources"]["bad"]["reason"] == "upstream_timeout"
    assert body["_sources"]["behind-stand-in"]["reason"] == "upstream_timeout"
    assert 380 <= body["_sources"]["bad"]["ms"] <= 1500
    until(lambda: stage.gone == 2)


def test_a_source_has_a_time_of_its_own(gateway: Gateway, stage: Stage) -> None:
    answer = get(gateway, "/timeout")
    body = json.loads(answer.body)
    assert (body["good"], body["slow"]) == ({"good": True}, [])
    assert body["_sources"]["slow"]["reason"] == "upstream_timeout"
    assert 140 <= body["_sources"]["slow"]["ms"] <= 1500
    until(lambda: stage.gone == 1)


def test_a_required_source_that_fails_ends_it_at_once(gateway: Gateway, stage: Stage) -> None:
    stage.acts["bad"] = whole(b"no", 500)
    answer = get(gateway, "/required")
    assert (answer.status, answer.reason) == (502, "aggregate_required_failed")
    assert answer.get("content-type") == "application/problem+json"
    detail = json.loads(answer.body)["detail"]
    assert detail == "the required source behind failed: it waits for bad, which failed: its status is 500"
    until(lambda: stage.gone == 1)  # the slow one is not waited for
    line = line_of(gateway, answer)
    assert line["reason"] == "aggregate_required_failed"
    assert {name: each["reason"] for name, each in line["sources"].items()} == {
        "good": line["sources"]["good"]["reason"],
        "slow": "cancelled",
        "bad": "status",
        "behind": "dependency",
    }
    until(lambda: gateway.metric("gateway_aggregate_responses_total", route="required", completeness="failed") >= 1)


def test_a_required_source_that_is_late_is_504(gateway: Gateway, stage: Stage) -> None:
    stage.acts["bad"] = stage.hang
    answer = get(gateway, "/required")
    assert (answer.status, answer.reason) == (504, "aggregate_required_failed")
    assert "behind" in json.loads(answer.body)["detail"]
    until(lambda: stage.gone == 2)


def test_a_client_that_leaves_cancels_all_sources(gateway: Gateway, stage: Stage, target: Upstream) -> None:
    stage.acts["account"] = stage.acts["equities"] = stage.hang
    with Raw(gateway.port) as raw:
        raw.send(b"GET /portfolio/7 HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: len(target.requests) == 2)
    until(lambda: stage.gone == 2)
    line = until(lambda: next((each for each in gateway.access_log() if each["status"] == 499), None))
    assert {each["reason"] for each in line["sources"].values()} == {"cancelled"}


def test_merged_flat_as_a_list_and_by_a_shape(gateway: Gateway, stage: Stage) -> None:
    stage.acts["bad"] = whole(b"", 500)
    flat = json.loads(get(gateway, "/flat").body)
    assert flat == {"price": 11, "currency": "EUR", "list": [{"deep": 1}]}
    one, two, three, report = json.loads(get(gateway, "/list").body)
    assert (one["price"], two, three["price"]) == (10.5, None, 11)
    assert report["_sources"]["two"]["status"] == 500
    answer = get(gateway, "/shape/a%2Bb")
    assert answer.get("x-gateway-complete") == "true"
    assert json.loads(answer.body) == {
        "user": "a+b",
        "price": 10.5,
        "both": [{"price": 10.5, "ccy": "EUR"}, {"deep": 1}],
        "nothing": None,
    }


def test_large_answers_are_parsed_in_a_process_that_may_die(gateway: Gateway, target: Upstream) -> None:
    def check() -> None:
        answer = get(gateway, "/large")
        assert answer.get("x-gateway-complete") == "true"
        assert json.loads(answer.body) == {
            "big": LARGE,
            "second": LARGE[-1],
            "one": {"price": 10.5, "ccy": "EUR"},
            "after": "after",
        }
        assert any(each.line == b"GET /after/1 HTTP/1.1" for each in target.requests)

    check()
    (worker,) = gateway.workers()
    (parser,) = children(worker)
    assert json.loads(get(gateway, "/large-shape").body) == {"last": LARGE[-1], "all": LARGE}
    os.kill(parser, signal.SIGKILL)
    until(lambda: children(worker) not in ([], [parser]))
    check()
    assert get(gateway, "/large", method="HEAD").status == 200


def children(pid: int) -> list[int]:
    return [int(child) for each in Path(f"/proc/{pid}/task").glob("*/children") for child in each.read_text().split()]


def test_an_answer_beyond_the_limit_is_the_failure_of_its_source(gateway: Gateway, stage: Stage) -> None:
    async def endless(wire: Wire, recorded: Recorded) -> None:
        await wire.send(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10):
            await wire.send(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
        await wire.eof()

    for act in (b"HTTP/1.1 200 X\r\nContent-Length: 9000000\r\n\r\n[", endless):
        stage.acts["huge"] = act
        body = json.loads(get(gateway, "/limit").body)
        assert body["one"]["price"] == 10.5
        assert body["_sources"]["big"]["reason"] == "too_large"
    until(lambda: gateway.metric("gateway_buffered_bytes") == 0)


def test_head_gets_the_head_of_the_answer(gateway: Gateway) -> None:
    answer = get(gateway, "/flat", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.get("content-length") == str(len(get(gateway, "/flat").body))
