"""Aggregates on a bad night: upstreams that lie, hang, drip and flood, and clients that do what they should not."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import ask, get
from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.raw import Raw
from tests.support.stage import Stage, ok, whole
from tests.support.upstream import Recorded, Upstream, Wire
from tests.support.wait import until

CHAIN = 50
MANY = 100
MIB = 1 << 20
KERNEL = 5 * MIB
"""What the buffers of a connection may take: tcp_wmem and a small receive buffer."""
LARGE = {"id": 1, "items": ["x" * 1000] * 400}
CONFIG = f"""
limits: {{buffered: 12MiB, body: 1MiB}}
listen: ["127.0.0.1:0", "unix:SOCKET"]
upstreams:
  u: UPSTREAM
  me: {{targets: ["unix:SOCKET"]}}
  few: {{targets: [UPSTREAM], connections: {{max: 2, wait: 5s}}}}
routes:
  - name: one
    match: GET,POST /one
    aggregate: {{deadline: 20s, sources: {{a: {{to: u, path: /a}}, good: {{to: u, path: /good}}}}}}
  - name: referred
    match: GET /referred
    aggregate:
      deadline: 20s
      sources:
        a: {{to: u, path: /a}}
        path: {{to: u, path: "/seen/{{a.id}}/end"}}
        query: {{to: u, path: "/seen?id={{a.id}}"}}
        header: {{to: u, path: /seen, headers: {{x-id: "{{a.id}}"}}}}
        body: {{to: u, path: /seen, method: POST, body: {{id: "{{a.id}}"}}}}
  - name: flat
    match: GET /flat
    aggregate: {{deadline: 20s, merge: flat, sources: {{a: {{to: u, path: /a}}, good: {{to: u, path: /good}}}}}}
  - name: picked
    match: GET /picked
    aggregate: {{deadline: 20s, sources: {{a: {{to: u, path: /a, pick: id}}, good: {{to: u, path: /good}}}}}}
  - name: short
    match: GET /short
    aggregate: {{deadline: 300ms, sources: {{a: {{to: u, path: /a}}, good: {{to: u, path: /good}}}}}}
  - name: chain
    match: GET /chain
    aggregate:
      deadline: 20s
      sources:
        s0: {{to: u, path: /good}}
        {
    "".join(
        f'''
        s{number}: {{to: u, path: "/link?to={{s{number - 1}.id}}"}}'''
        for number in range(1, CHAIN)
    )
}
  - name: many-large
    match: GET /many-large
    aggregate:
      deadline: 20s
      sources: {{{", ".join(f"s{number}: {{to: few, path: /large, pick: id}}" for number in range(MANY))}}}
  - {{name: loop, match: GET /loop, aggregate: {{deadline: 5s, sources: {{a: {{to: me, path: /loop}}}}}}}}
  - name: many
    match: GET /many
    aggregate:
      deadline: 20s
      sources: {{{", ".join(f"s{number}: {{to: few, path: /good}}" for number in range(MANY))}}}
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
    with start(target, Path(tmp_path_factory.mktemp("gateway"))) as gateway:
        yield gateway


def start(target: Upstream, directory: Path) -> Gateway:
    return Gateway(CONFIG.replace("UPSTREAM", target.url).replace("SOCKET", str(directory / "own")), directory)


@pytest.fixture(autouse=True)
def _fresh_before_and_idle_behind(gateway: Gateway, target: Upstream, stage: Stage) -> Iterator[None]:
    target.requests.clear()
    stage.reset(good=ok({"id": "g"}), seen=ok("seen"), link=ok({"id": "l"}))
    yield
    until(lambda: left_behind(gateway) == {}, what="nothing is left of what was asked")
    assert "Traceback" not in gateway.errors


def left_behind(gateway: Gateway) -> dict[str, float]:
    """Gauges that are zero while nobody asks."""
    names = (
        "gateway_buffered_bytes",
        "gateway_http_requests_in_flight",
        "gateway_upstream_requests_in_flight",
        'gateway_upstream_connections{state="active"',
    )
    return {name: value for name, value in gateway.metrics().items() if name.startswith(names) and value}


def why(answer: Answer) -> dict[str, str]:
    """The reasons in `_sources`."""
    assert answer.status == 200, answer
    return {name: each["reason"] for name, each in json.loads(answer.body).get("_sources", {}).items()}


NOT_JSON = {
    "deep": b"[" * 10_000 + b"]" * 10_000,
    "unclosed and deep": b"[" * 100_000,
    "not utf-8": b'{"a": "\xff\xfe"}',
    "a surrogate alone": b'"\\ud800"',
    "beyond a double": b"1e400",
    "NaN": b"NaN",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "two values": b"{} {}",
    "a NUL": b'{"a": 1}\0',
    "blanks": b" " * 1000,
    "large and deep": b"[" * MIB,
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize("path", ["/one", "/flat", "/picked"])
def test_what_is_no_json_is_the_failure_of_its_source(gateway: Gateway, stage: Stage, path: str, body: bytes) -> None:
    stage.acts["a"] = whole(body)
    answer = get(gateway, path)
    assert why(answer) == {"a": "not_json"}
    assert b'"g"' in answer.body


ODD = {
    "numbers beyond 64 bit": b'{"id": 123456789012345678901234567890, "price": 1.10}',
    "a name twice": b'{"id": 1, "id": 2}',
    "as deep as can be read": b'{"id": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    "blanks around": b' \r\n{"id": 1}\t\n',
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_what_is_odd_goes_on_as_it_came(gateway: Gateway, stage: Stage, body: bytes) -> None:
    stage.acts["a"] = whole(body)
    answer = get(gateway, "/one")
    assert answer.get("x-gateway-complete") == "true"
    assert b'"a":' + body.strip() + b"," in answer.body


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        ("..", {"path"}),
        ("../../admin", {"path"}),
        ("x\r\nX-Evil: 1", {"header"}),
        ("\0", {"path", "header"}),
        ("%00", set()),
        ("", {"path"}),
        (None, {"path", "query", "header"}),
        ([1], {"path", "query", "header"}),
        ({"x": 1}, {"path", "query", "header"}),
        ("a/b?c#d&e=f", set()),
        (2**63, set()),
    ],
)
def test_what_references_carry_never_breaks_out(
    gateway: Gateway, stage: Stage, target: Upstream, value: Any, refused: set[str]
) -> None:
    stage.acts["a"] = ok({"id": value})
    answer = get(gateway, "/referred")
    assert why(answer) == dict.fromkeys(refused, "reference")
    for each in target.requests:
        assert each.line.startswith((b"GET /a ", b"GET /seen/", b"GET /seen?id=", b"GET /seen ", b"POST /seen "))
        assert not each.fields("x-evil")
        assert b"/.." not in each.line
    if "path" not in refused:
        (path,) = [each.line for each in target.requests if each.line.startswith(b"GET /seen/")]
        assert path.count(b"/") == 4  # with that of HTTP/1.1


def test_a_number_that_lost_digits_is_in_no_path(gateway: Gateway, stage: Stage) -> None:
    stage.acts["a"] = whole(b'{"id": 123456789012345678901234567890}')
    assert why(get(gateway, "/referred")) == dict.fromkeys(("path", "query", "header"), "reference")


def test_a_field_that_is_not_there_spoils_who_asks_for_it(gateway: Gateway, stage: Stage) -> None:
    stage.acts["a"] = ok({})
    assert why(get(gateway, "/referred")) == dict.fromkeys(("path", "query", "header", "body"), "reference")


@pytest.mark.parametrize("ending", [None, "reset"])
def test_a_chain_of_many_sources(gateway: Gateway, stage: Stage, target: Upstream, ending: str | None) -> None:
    if ending is not None:
        stage.acts["good"] = whole(b"no", 500)
    answer = get(gateway, "/chain")
    body = json.loads(answer.body)
    if ending is None:
        assert len(body) == CHAIN
        assert len(target.requests) == CHAIN
    else:
        assert why(answer) == {"s0": "status", **{f"s{number}": "dependency" for number in range(1, CHAIN)}}


def test_many_sources_share_a_few_connections(gateway: Gateway, target: Upstream) -> None:
    assert len(json.loads(get(gateway, "/many").body)) == MANY
    assert len({each.connection for each in target.requests}) <= 2


def test_as_many_large_answers_as_sources_are_parsed(gateway: Gateway, stage: Stage) -> None:
    stage.acts["large"] = ok({"id": 1, "text": "x" * 100_000})
    assert json.loads(get(gateway, "/many-large").body) == {f"s{number}": 1 for number in range(MANY)}


def test_a_gateway_that_is_its_own_source_ends_it(gateway: Gateway) -> None:
    assert json.loads(get(gateway, "/loop").body)["_sources"]["a"]["status"] == 508


@pytest.mark.parametrize("path", ["/one", "/flat"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_large_answers_leave_the_connection_usable(gateway: Gateway, stage: Stage, path: str, method: str) -> None:
    stage.acts["a"] = ok(LARGE)
    with Raw(gateway.port) as raw:
        for _ in range(2):
            answer = raw.send(ask(path, method=method)).answer(method)
            assert (answer.status, answer.get("x-gateway-complete")) == (200, "true")
            assert int(answer.get("content-length") or "") > 400_000
            assert bool(answer.body) == (method == "GET")


async def drip(wire: Wire, recorded: Recorded) -> None:
    """A byte now and then, for ever."""
    await wire.send(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n")
    gone = asyncio.ensure_future(wire.eof())
    while not (await asyncio.wait({gone}, timeout=0.02))[0]:
        await wire.send(b"1\r\n \r\n")
    raise EOFError


async def drip_head(wire: Wire, recorded: Recorded) -> None:
    gone = asyncio.ensure_future(wire.eof())
    await wire.send(b"HTTP/1.1 200 X\r\n")
    while not (await asyncio.wait({gone}, timeout=0.02))[0]:
        await wire.send(b"X-A: b\r\n")
    raise EOFError


@pytest.mark.parametrize("act", [drip, drip_head])
def test_who_drips_is_left_out_at_the_deadline(gateway: Gateway, stage: Stage, act: Any) -> None:
    stage.acts["a"] = act
    answer = get(gateway, "/short")
    assert why(answer)["a"] in ("upstream_timeout", "upstream_protocol")
    assert json.loads(answer.body)["good"] == {"id": "g"}


def test_a_flood_is_cut_where_the_gateway_holds_too_much(gateway: Gateway, stage: Stage) -> None:
    """Two clients ask for bodies of 8 MiB of which 7 come; 12 MiB is all that may be held."""

    async def flood(wire: Wire, recorded: Recorded) -> None:
        gone = asyncio.ensure_future(wire.eof())
        await wire.send(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % (8 * MIB))
        await wire.send(b" " * (7 * MIB))
        await gone
        raise EOFError

    stage.acts["a"] = flood
    with Raw(gateway.port) as first, Raw(gateway.port) as second:
        first.send(ask("/one"))
        second.send(ask("/one"))
        sources = until(lambda: shed(gateway))[0]["sources"]
    assert sources["good"]["reason"] is None


def shed(gateway: Gateway) -> list[dict[str, Any]]:
    lines = [each for each in gateway.access_log() if each["route"] == "one"]
    return [each for each in lines if each["sources"]["a"]["reason"] == "shed_overload"]


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "application/x-ndjson"])
def test_pipelined_requests_are_answered_in_their_order(gateway: Gateway, stage: Stage, accept: str) -> None:
    stage.acts["a"] = ok(1)
    with Raw(gateway.port) as raw:
        raw.send(ask("/one", f"Accept: {accept}") * 5 + ask("/flat") + ask("/nothing"))
        answers = [raw.answer() for _ in range(7)]
    assert [each.status for each in answers] == [200] * 6 + [404]


def test_a_body_of_the_client_is_nobodys(gateway: Gateway, stage: Stage, target: Upstream) -> None:
    stage.acts["a"] = ok(1)
    with Raw(gateway.port) as raw:
        raw.send(ask("/one", "Content-Length: 100000", method="POST") + b"x" * 100_000 + ask("/one"))
        assert [raw.answer().status, raw.answer().status] == [200, 200]
    assert all(each.body == b"" for each in target.requests)


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_an_old_client_that_asks_twice(gateway: Gateway, stage: Stage, accept: str) -> None:
    stage.acts["a"] = ok(1)
    with Raw(gateway.port) as raw:
        data = raw.send(ask("/one", f"Accept: {accept}", version="1.0") * 2).rest()
    assert data.count(b"HTTP/1.1 200") == 1
    assert b"Transfer-Encoding" not in data


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("leave", ["reset", "finish"])
def test_clients_that_leave_while_answers_are_parsed(gateway: Gateway, stage: Stage, accept: str, leave: str) -> None:
    stage.acts["a"] = ok(LARGE)
    stage.held = {"good": asyncio.Event()}
    for _ in range(5):
        with Raw(gateway.port) as raw:
            raw.send(ask("/one", f"Accept: {accept}"))
            until(lambda: gateway.metric("gateway_http_requests_in_flight", route="one") == 1)
            getattr(raw, leave)()
            until(lambda: gateway.metric("gateway_http_requests_in_flight", route="one") == 0)
    until(lambda: stage.gone == 5)


@pytest.mark.parametrize("form", ["application/json", "text/event-stream", "application/x-ndjson"])
def test_slow_readers_cost_what_the_limit_says(gateway: Gateway, stage: Stage, form: str) -> None:
    """Six clients ask for 10 MiB each and read nothing; of 12 MiB there is a chunk too much at most."""
    stage.acts["a"] = stage.acts["good"] = ok(["x" * 1000] * 5000)
    before = shed_so_far(gateway)
    readers = [Raw(gateway.port, receive_buffer=16384) for _ in range(6)]
    try:
        for reader in readers:
            reader.send(ask("/one", f"Accept: {form}", "Connection: close"))
        until(lambda: shed_so_far(gateway) > before)
        for reader in readers:
            assert gateway.metric("gateway_buffered_bytes") < 13 * MIB
            data = reader.rest()
            assert data.startswith(b"HTTP/1.1 200") or reader.was_reset
    finally:
        for reader in readers:
            reader.reset()


def shed_so_far(gateway: Gateway) -> float:
    return gateway.metric("gateway_aggregate_sources_total", route="one", outcome="shed_overload")


@pytest.mark.parametrize("form", ["application/json", "text/event-stream", "application/x-ndjson"])
def test_all_that_waits_for_a_slow_reader_is_counted(gateway: Gateway, stage: Stage, form: str) -> None:
    items = ["x" * 1000] * 4700
    stage.acts["a"] = stage.acts["good"] = ok(items)
    with Raw(gateway.port, receive_buffer=16384) as raw:
        raw.send(ask("/one", f"Accept: {form}"))
        raw.until(b"\r\n\r\n")
        until(lambda: gateway.metric("gateway_buffered_bytes") > 9 * MIB - KERNEL)
        raw.until(b"xxx")
    with Raw(gateway.port) as raw:
        answer = raw.send(ask("/one", f"Accept: {form}")).answer()
        assert answer.body.count(b"x") == 9400 * 1000
        raw.send(ask("/flat"))
        assert raw.answer().status == 200


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("size", [10, 400])
def test_sigterm_waits_for_an_aggregate_under_way(
    target: Upstream, stage: Stage, tmp_path: Path, accept: str, size: int
) -> None:
    stage.acts["a"] = ok(["x" * 1000] * size)
    stage.held = {"a": asyncio.Event()}
    with start(target, tmp_path) as draining, Raw(draining.port) as raw:
        raw.send(ask("/one", f"Accept: {accept}"))
        until(lambda: len(target.requests) == 2)
        draining.signal(signal.SIGTERM)
        until(lambda: "draining" in draining.errors)
        target.run(stage.held["a"].set)
        answer = raw.answer()
        assert answer.status == 200
        assert answer.body.count(b"x") >= size * 1000
        assert b"_sources" not in answer.body
        assert draining.process.wait(10) == 0
        assert "Traceback" not in draining.errors
