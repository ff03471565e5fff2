"""What crosses the gateway: fields, paths, hosts, who the client is, loops, expectations, bodies as they come."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.corpus import request
from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.raw import Raw, talk
from tests.support.upstream import OK, Recorded, Upstream, Wire
from tests.support.wait import until

Start = Callable[..., Upstream]

ANSWER = b"HTTP/1.1 200 OK\r\n%b\r\n\r\nok"


class Script:
    """Answers with what the test sets."""

    def __init__(self) -> None:
        self.answer = OK

    async def __call__(self, wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(self.answer)


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def target(script: Script) -> Iterator[Upstream]:
    with Upstream(script) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(target: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = f"""
trusted_proxies: [127.0.0.2/32]
upstreams: {{u: "{target.url}"}}
routes:
  - {{name: all, match: "/*", to: u}}
  - {{name: own-host, match: "/own-host", to: u, host: upstream}}
  - {{name: named-host, match: "/named-host", to: u, host: named.test}}
  - {{name: guarded, match: "/private/*", respond: {{status: 403}}}}
  - {{name: item, match: "/v1/{{id}}/x", to: u, rewrite: "/v2/{{id}}"}}
  - name: edited
    match: /edited
    to: u
    headers:
      request: {{set: {{x-tier: gold}}, remove: [cookie]}}
      response: {{set: {{x-served: gateway}}, remove: [server]}}
"""
    with Gateway(config, Path(tmp_path_factory.mktemp("gateway"))) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _fresh(target: Upstream, script: Script) -> None:
    target.requests.clear()
    script.answer = OK


def _one(gateway: Gateway, data: bytes, source: str = "127.0.0.1") -> Answer:
    with Raw(gateway.port, source=source) as raw:
        answer = raw.send(data).answer(data.split(b" ")[0].decode())
        while answer.status < 200:
            answer = raw.answer()
        return answer


def _get(*lines: bytes, path: bytes = b"/x") -> bytes:
    return request(*lines, line=b"GET " + path + b" HTTP/1.1")


def _lines(recorded: Recorded) -> list[str]:
    return recorded.head.decode("latin-1").split("\r\n")[1:-2]


# --- fields -------------------------------------------------------------------------------------------------------


def test_fields_keep_their_order_case_and_number(gateway: Gateway, target: Upstream) -> None:
    sent = [b"X-b: 1", b"x-A: caf\xe9", b"X-B: 2", b"accept: */*", b"Cookie: a=b", b"cookie: c=d", b"X-Empty: "]
    _one(gateway, _get(*sent))
    (seen,) = target.requests
    assert [line.encode("latin-1") for line in _lines(seen)[1 : 1 + len(sent)]] == sent
    assert _lines(seen)[0] == "Host: gateway.test"


def test_answers_keep_the_order_case_and_number_of_fields(gateway: Gateway, script: Script) -> None:
    sent = [
        ("set-cookie", "a=b"),
        ("Server", "x"),
        ("Set-Cookie", "c=d"),
        ("ETag", '"caf\xe9"'),
        ("Content-Length", "2"),
    ]
    script.answer = ANSWER % "\r\n".join(f"{name}: {value}" for name, value in sent).encode("latin-1")
    answer = _one(gateway, _get())
    ours = ("date", "via", "x-request-id")
    assert [line for line in answer.lines if line[0].lower() not in ours] == sent


def test_hop_by_hop_fields_stay_on_their_side(gateway: Gateway, target: Upstream, script: Script) -> None:
    hops = [
        b"Connection: keep-alive, X-Mine, Host, Content-Length, Authorization, Cookie, X-Forwarded-For",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic eDp5",
        b"TE: gzip",
        b"Trailer: X-Sum",
        b"X-Mine: 1",
    ]
    kept = [b"Authorization: Bearer x", b"Cookie: a=b", b"Content-Length: 2"]
    script.answer = ANSWER % b"Connection: x-theirs\r\nX-Theirs: 1\r\nProxy-Authenticate: Basic\r\nContent-Length: 2"
    answer = _one(gateway, request(*hops, *kept, body=b"hi"))
    (seen,) = target.requests
    lines = _lines(seen)
    assert not [
        line for line in lines if line.lower().startswith(("connection", "keep", "proxy", "te:", "trailer", "x-mine"))
    ]
    assert [line for line in lines if line.encode() in kept] == [line.decode() for line in kept]
    assert seen.fields("x-forwarded-for") == ["127.0.0.1"]
    assert answer.all("x-theirs") == answer.all("proxy-authenticate") == answer.all("connection") == []


def test_names_with_underscores_are_dropped(gateway: Gateway, target: Upstream) -> None:
    _one(gateway, _get(b"X_Forwarded_For: 1.2.3.4", b"Content_Length: 5", b"X-Y: 1"))
    (seen,) = target.requests
    assert not [line for line in _lines(seen) if "_" in line.partition(":")[0]]


def test_edits_of_a_route(gateway: Gateway, target: Upstream, script: Script) -> None:
    script.answer = ANSWER % b"Server: secret\r\nContent-Length: 2"
    answer = _one(gateway, _get(b"Cookie: a=b", b"X-Tier: tin", path=b"/edited"))
    (seen,) = target.requests
    assert (seen.fields("cookie"), seen.fields("x-tier")) == ([], ["gold"])
    assert (answer.all("server"), answer.get("x-served")) == ([], "gateway")


def test_an_answer_has_one_date_and_one_request_id(gateway: Gateway, target: Upstream, script: Script) -> None:
    answer = _one(gateway, _get())
    assert answer.get("date")
    assert answer.all("x-request-id") == target.requests[0].fields("x-request-id")
    script.answer = ANSWER % b"Date: Tue, 15 Nov 1994 08:12:31 GMT\r\nX-Request-Id: theirs\r\nContent-Length: 2"
    answer = _one(gateway, _get())
    assert answer.all("date") == ["Tue, 15 Nov 1994 08:12:31 GMT"]
    assert answer.all("x-request-id") == target.requests[1].fields("x-request-id") != ["theirs"]


# --- who the client is --------------------------------------------------------------------------------------------

CLAIMS = [
    b"X-Forwarded-For: 6.6.6.6, 1.2.3.4",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: claimed.test",
    b"Forwarded: for=6.6.6.6",
    b"X-Real-IP: 6.6.6.6",
    b"X-Request-Id: claimed",
    b"X-Gateway-Reason: claimed",
    b"X-Request-Timeout-Ms: 1",
]


def test_what_a_stranger_claims_is_replaced(gateway: Gateway, target: Upstream) -> None:
    _one(gateway, _get(*CLAIMS))
    (seen,) = target.requests
    assert seen.fields("x-forwarded-for") == ["127.0.0.1"]
    assert seen.fields("x-forwarded-proto") == ["http"]
    assert seen.fields("x-forwarded-host") == ["gateway.test"]
    assert seen.fields("forwarded") == ['for=127.0.0.1;host="gateway.test";proto=http']
    assert seen.fields("x-real-ip") == ["127.0.0.1"]
    assert seen.fields("x-gateway-reason") == []
    assert "claimed" not in seen.head.decode().lower().replace("claimed.test", "")
    logged = until(gateway.access_log)[-1]
    assert logged["client_ip"] == "127.0.0.1"


def test_what_a_trusted_proxy_says_is_believed(gateway: Gateway, target: Upstream) -> None:
    answer = _one(gateway, _get(*CLAIMS, path=b"/trusted"), source="127.0.0.2")
    (seen,) = target.requests
    assert seen.fields("x-forwarded-for") == ["6.6.6.6, 1.2.3.4, 127.0.0.2"]
    assert seen.fields("x-forwarded-proto") == ["https"]
    assert seen.fields("x-forwarded-host") == ["claimed.test"]
    assert seen.fields("x-real-ip") == ["1.2.3.4"], "walking from the right"
    assert seen.fields("forwarded")[0].startswith("for=6.6.6.6, for=127.0.0.2;")
    assert answer.get("x-request-id") == "claimed"
    logged = until(lambda: [each for each in gateway.access_log() if each["path"] == "/trusted"])[0]
    assert (logged["client_ip"], logged["scheme"], logged["request_id"]) == ("1.2.3.4", "https", "claimed")


# --- hosts and paths ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["gateway.test", "Gateway.TEST:8080", "[::1]:80", "upstream"])
def test_the_clients_host_goes_on(gateway: Gateway, target: Upstream, host: str) -> None:
    _one(gateway, f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert target.requests[0].fields("host") == [host]


def test_other_hosts_by_config(gateway: Gateway, target: Upstream) -> None:
    _one(gateway, _get(path=b"/own-host"))
    _one(gateway, _get(path=b"/named-host"))
    _one(gateway, b"GET /no-host HTTP/1.0\r\n\r\n")
    assert [each.fields("host") for each in target.requests] == [[target.address], ["named.test"], [target.address]]


@pytest.mark.parametrize(
    "path",
    [
        b"/private/x",
        b"/a/../private/x",
        b"/./private/x",
        b"/a/%2e%2e/private/x",
        b"/a/%2E./private/x",
        b"/%70rivate/x",
        b"/private/%2e/x",
        b"/x/../../private/y",
        b"http://gateway.test/a/../private/x",
    ],
)
def test_no_spelling_of_a_path_slips_past_a_route(gateway: Gateway, target: Upstream, path: bytes) -> None:
    assert _one(gateway, _get(path=path)).status == 403
    assert target.requests == []


@pytest.mark.parametrize("path", [b"//private/x", b"/Private/x", b"/private%3bx", b"/a/..;/private/x"])
def test_other_paths_are_other_paths_for_the_upstream_too(gateway: Gateway, target: Upstream, path: bytes) -> None:
    answer = _one(gateway, _get(path=path))
    assert answer.status in (200, 400)
    for seen in target.requests:
        assert not seen.line.split()[1].startswith(b"/private/")


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (b"/a/./b/../c?x=/../y&z=%2F", b"/a/c?x=/../y&z=%2F"),
        (b"/%7Euser/%41", b"/~user/A"),
        (b"/a%c3%a9", b"/a%C3%A9"),
        (b"/a//b/", b"/a//b/"),
        (b"/?", b"/?"),
        (b"/v1/a%20b/x?q", b"/v2/a%20b?q"),
        (b"/" + b"x" * 5000, b"/" + b"x" * 5000),
    ],
)
def test_the_path_that_was_matched_is_the_path_that_is_sent(
    gateway: Gateway, target: Upstream, sent: bytes, seen: bytes
) -> None:
    _one(gateway, _get(path=sent))
    assert target.requests[0].line == b"GET " + seen + b" HTTP/1.1"


# --- loops and hops -----------------------------------------------------------------------------------------------


def test_via_is_added_both_ways(gateway: Gateway, target: Upstream, script: Script) -> None:
    script.answer = ANSWER % b"Via: 1.1 inner\r\nContent-Length: 2"
    answer = _one(gateway, _get(b"Via: 1.0 outer"))
    first, second = target.requests[0].fields("via")
    assert (first, second[:15]) == ("1.0 outer", "1.1 floodgate-x"[:14] + second[14])
    assert answer.all("via") == ["1.1 inner", second]


def test_a_loop_is_found(gateway: Gateway, target: Upstream) -> None:
    _one(gateway, _get())
    (via,) = target.requests[0].fields("via")
    target.requests.clear()
    answer = _one(gateway, _get(b"Via: 1.1 other, " + via.encode() + b", 1.1 third"))
    assert (answer.status, answer.reason) == (508, "loop_detected")
    assert target.requests == []


def test_a_gateway_that_points_at_itself_answers_508(serve: Callable[..., Gateway], tmp_path: Path) -> None:
    path = tmp_path / "self.sock"
    gateway = serve(
        f"listen: ['127.0.0.1:0', 'unix:{path}']\n"
        f"upstreams: {{me: {{targets: ['unix:{path}']}}}}\nroutes: [{{name: all, match: '/*', to: me}}]\n"
    )
    answer = _one(gateway, _get())
    assert answer.status == 508
    assert len(until(lambda: [each for each in gateway.access_log() if each["status"] == 508])) >= 1


@pytest.mark.parametrize(("value", "seen"), [(b"5", ["4"]), (b"1", ["0"]), (b"x", ["x"])])
def test_max_forwards_of_options_is_counted_down(
    gateway: Gateway, target: Upstream, value: bytes, seen: list[str]
) -> None:
    assert _one(gateway, request(b"Max-Forwards: " + value, line=b"OPTIONS /x HTTP/1.1")).status == 200
    assert target.requests[0].fields("max-forwards") == seen


def test_options_that_may_go_no_further_are_answered_here(gateway: Gateway, target: Upstream) -> None:
    answer = _one(gateway, request(b"Max-Forwards: 0", line=b"OPTIONS /x HTTP/1.1"))
    assert answer.status == 204
    assert answer.get("allow")
    assert target.requests == []


def test_max_forwards_of_others_is_passed(gateway: Gateway, target: Upstream) -> None:
    _one(gateway, _get(b"Max-Forwards: 0"))
    assert target.requests[0].fields("max-forwards") == ["0"]


# --- expectations, versions, bodies ---------------------------------------------------------------------------------


def test_expect_is_answered_here(gateway: Gateway, target: Upstream) -> None:
    with Raw(gateway.port) as raw:
        raw.send(request(b"Expect: 100-continue", b"Content-Length: 5"))
        assert raw.answer().status == 100
        raw.send(b"hello")
        assert raw.answer().status == 200
        raw.send(_get())
        assert raw.answer().status == 200
    assert [(each.body, each.fields("expect")) for each in target.requests] == [(b"hello", []), (b"", [])]


def test_another_expectation_is_417(gateway: Gateway, target: Upstream) -> None:
    answer = _one(gateway, request(b"Expect: the-unexpected", b"Content-Length: 0"))
    assert (answer.status, answer.reason) == (417, "expectation_failed")
    assert target.requests == []


def test_http_1_0_clients(gateway: Gateway, target: Upstream, script: Script) -> None:
    script.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
    with Raw(gateway.port) as raw:
        raw.send(b"GET /x HTTP/1.0\r\n\r\n")
        answer = raw.answer()
        assert answer.body == b"abcdef"
        assert raw.rest() == b""
    assert target.requests[0].line == b"GET /x HTTP/1.1"
    script.answer = OK
    with Raw(gateway.port) as raw:
        for _ in range(3):
            answer = raw.send(b"GET /x HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").answer()
            assert (answer.body, answer.get("connection")) == (b"ok", "keep-alive")


def test_http_1_0_upstreams(gateway: Gateway, target: Upstream, script: Script) -> None:
    connections = target.connections
    script.answer = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with Raw(gateway.port) as raw:
        for _ in range(3):
            assert raw.send(_get()).answer().body == b"ok"
    assert target.connections >= connections + 2, "not kept"


def test_unusual_methods_pass(gateway: Gateway, target: Upstream) -> None:
    for method in (b"PROPFIND", b"M-SEARCH", b"X"):
        assert _one(gateway, request(line=method + b" /x HTTP/1.1")).status == 200
    assert [each.line.split()[0] for each in target.requests] == [b"PROPFIND", b"M-SEARCH", b"X"]


def test_bodies_go_through_in_chunks_and_by_length(gateway: Gateway, target: Upstream) -> None:
    _one(gateway, request(b"Transfer-Encoding: chunked", body=b"3;x\r\nabc\r\n3\r\ndef\r\n0\r\nX-Sum: 1\r\n\r\n"))
    _one(gateway, request(b"Content-Length: 6", body=b"abcdef"))
    assert [each.body for each in target.requests] == [b"abcdef", b"abcdef"]
    big = b"%x\r\n" % 400_000 + b"z" * 400_000 + b"\r\n0\r\n\r\n"
    _one(gateway, request(b"Transfer-Encoding: chunked", body=big))
    assert target.requests[2].fields("transfer-encoding") == ["chunked"]
    assert target.requests[2].body.count(b"z") == 400_000
    assert target.requests[2].body.endswith(b"\r\n0\r\n\r\n")


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, target: Upstream) -> None:
    paths = [b"/%d" % number for number in range(40)]
    data = b"".join(_get(path=path) for path in paths) + _get(b"Connection: close")
    answers = talk(gateway.port, data)
    assert [each.status for each in answers] == [200] * 41
    assert [each.line.split()[1] for each in target.requests] == [*paths, b"/x"]
    assert [each.get("x-request-id") for each in answers] == [
        each.fields("x-request-id")[0] for each in target.requests
    ]


def test_problems_are_problem_json(gateway: Gateway) -> None:
    answer = _one(gateway, _get(path=b"/%zz"))
    assert answer.get("content-type") == "application/problem+json"
    document = json.loads(answer.body)
    assert document["type"] == "urn:gateway:bad_request"
    assert document["status"] == 400
    assert document["request_id"] == answer.get("x-request-id")
    assert set(document) == {"type", "title", "status", "detail", "request_id"}


# --- streams --------------------------------------------------------------------------------------------------------


def test_events_are_passed_on_as_they_come(serve: Callable[..., Gateway], upstream: Start) -> None:
    step = threading.Semaphore(0)
    told = threading.Event()

    async def events(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(5):
            await asyncio.get_running_loop().run_in_executor(None, step.acquire)
            await wire.send(b"data: %d\n\n" % number)
        await wire.eof()
        told.set()

    source = upstream(events)
    gateway = serve(f'upstreams: {{u: "{source.url}"}}\nroutes: [{{name: all, match: "/*", to: u}}]\n')
    with Raw(gateway.port) as raw:
        raw.send(_get())
        raw.until(b"\r\n\r\n")
        for number in range(5):
            step.release()
            assert raw.until(b"\n\n").endswith(b"data: %d\n\n" % number), "before the next is made"
    assert told.wait(2), "the upstream is told that the client left"
    logged = until(gateway.access_log)
    assert (logged[0]["stream"], logged[0]["reason"], logged[0]["status"]) == ("sse", "client_closed", 499)


def test_an_early_answer_is_passed_at_once(serve: Callable[..., Gateway], upstream: Start) -> None:
    async def refusing(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        await wire.eof()

    gateway = serve(
        f'upstreams: {{u: "{upstream(refusing).url}"}}\n'
        "routes:\n"
        "  - {name: all, match: /*, to: u, buffer: {request: 0B}, body_limit: off}\n"
        "  - {name: ping, match: /ping, respond: {status: 200}}\n"
    )
    with Raw(gateway.port) as raw:
        raw.send(request(b"Content-Length: 100000", body=b"x" * 10))
        answer = raw.answer()
        assert (answer.status, answer.body) == (403, b"no")
        raw.send(b"x" * 99_990 + _get(path=b"/ping"))
        assert raw.answer().status == 200, "a small rest is read and dropped"
    with Raw(gateway.port) as raw:
        raw.send(request(b"Content-Length: 10000000", body=b"x" * 10))
        answer = raw.answer()
        assert (answer.status, answer.get("connection")) == (403, "close")
        assert raw.rest() == b""
