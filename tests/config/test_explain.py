"""What the gateway says it would do with a request."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.config.asked import parse_request
from gateway.config.explain import explain
from gateway.config.explain_python import lines
from gateway.config.imports import IMPORT_S
from gateway.config.load import Loaded, load
from gateway.config.model_upstream import BALANCERS as WRITTEN
from gateway.config.run_tests import run_tests
from gateway.core.json import dumps
from gateway.decide.balance.registry import BALANCERS
from gateway.decide.route.explain import Asked
from tests.config.conftest import Write

CONFIG = """
upstreams:
  a: {targets: [http://h:1, http://h:2, {url: "dns://n:3", weight: 2}], balance: {consistent_hash: header:x-user},
    hedge: p99}
  b: http://i:4
routes:
  - {name: user, match: "GET shop.example/users/{id}", to: {a: 75%, b: 25%}, rewrite: "/u/{id}", host: upstream}
  - {name: gold, match: {path: "/users/{id}", headers: {x-tier: gold}}, to: b}
  - {name: api, match: /api/*, to: b, strip: /api, timeout: off, body_limit: 1KiB, class: paying,
     headers: {request: {set: {x-a: b}}, response: {remove: [server]}}}
  - {name: old, match: /old/*, redirect: /new/}
  - {name: ping, match: GET /ping, respond: pong}
queues: {paying: {weight: 3}}
"""


@pytest.fixture
def told(loaded: Callable[[str], Loaded]) -> Callable[..., dict[str, Any]]:
    """`told("GET /x", a="b")`: the explanation of a request with a header."""

    def ask(line: str, **headers: str) -> dict[str, Any]:
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return explain(loaded(CONFIG).settings, parse_request(line, fields))

    return ask


Told = Callable[..., dict[str, Any]]

PYTHON = """
executors: {work: {processes: 2}, wait: {threads: 8}}
upstreams: {a: http://h:1, b: http://i:1, c: [http://j:1, http://k:2]}
routes:
  - name: price
    match: /price
    handler: {run: "code.py:quote", executor: work, timeout: 1s}
    plugins: ["code.py:check", {run: "code.py:Timing", on_error: allow, name: timing}]
  - {name: quick, match: /quick, handler: "code.py:check", timeout: 2s}
  - {name: legacy, match: /legacy/*, strip: /legacy/, app: {wsgi: "code.py:app", executor: wait}}
  - {name: kept, match: /kept, respond: 204, plugins: "code.py:check"}
  - name: portfolio
    match: GET /portfolio/{user}
    aggregate:
      deadline: 800ms
      sources:
        account: {to: a, path: "/users/{user}", required: true}
        news: {to: c, path: "/n/{account.region}", timeout: 300ms}
"""
CODE = """
async def check(request): ...
def quote(request): ...
class Timing:
    def on_request(self, request): ...
def app(environ, start_response): ...
"""


@pytest.fixture
def python(write: Write) -> Callable[..., Any]:
    """`python("GET /x")`: the explanation, of the config above, in lines without the directory."""
    write(CODE, "code.py")

    def ask(line: str, import_s: float | None = IMPORT_S) -> list[str]:
        path = write(PYTHON)
        loaded = load(path, import_s=import_s)
        told = explain(loaded.settings, parse_request(line), loaded.codes)
        assert json.loads(dumps(told)) == told
        return [f"{name}: {text}".replace(f"{path.parent}/", "") for name, text in lines(told)]

    return ask


EXPLAINED = [
    (
        "GET /price",
        [
            "plugin: code.py:check on the event loop: async def at code.py:2, on_error deny",
            "plugin: timing = code.py:Timing on executor default (16 threads): on_request: def at code.py:4, "
            "on_error allow",
            "handler: code.py:quote on executor work (2 processes): def at code.py:3, timeout 1s",
        ],
    ),
    ("GET /quick", ["handler: code.py:check on the event loop: async def at code.py:2"]),
    (
        "GET /legacy/x",
        ["app: wsgi code.py:app on executor wait (8 threads): WSGI application at code.py:6, SCRIPT_NAME /legacy"],
    ),
    ("GET /kept", ["plugin: code.py:check on the event loop: async def at code.py:2, on_error deny"]),
    (
        "GET /portfolio/7",
        [
            "aggregate: object, deadline 800ms",
            "source: account: GET a /users/{user}, required",
            "source: news: GET c /n/{account.region}, waits for account, timeout 300ms",
        ],
    ),
]


@pytest.mark.parametrize(("request_line", "wanted"), EXPLAINED)
def test_python_and_where_it_runs(request_line: str, wanted: list[str], python: Callable[..., list[str]]) -> None:
    assert python(request_line) == wanted


def test_python_that_was_not_imported(python: Callable[..., list[str]]) -> None:
    assert python("GET /quick", None) == [
        "handler: code.py:check on executor default (16 threads), if it is a plain def (not imported)"
    ]
    assert python("GET /legacy/x", None) == [
        "app: wsgi code.py:app on executor wait (8 threads) (not imported), SCRIPT_NAME /legacy"
    ]


def test_an_aggregate_goes_to_all_its_upstreams(loaded: Callable[..., Loaded]) -> None:
    settings = loaded(PYTHON, import_s=None).settings
    told = explain(settings, parse_request("GET /portfolio/7"))
    assert [(each["upstream"], each["targets"]) for each in told["upstreams"]] == [
        ("a", ["h:1"]),
        ("c", ["j:1", "k:2"]),
    ]
    assert told["policies"] == ["body_limit: 10MiB", "timeout: 30s"]


def test_a_route_to_upstreams(told: Told) -> None:
    got = told("GET http://shop.example:80/users/7?a=b", x_user="me")
    assert {key: got[key] for key in ("route", "params", "path", "host", "timeout_s")} == {
        "route": "user",
        "params": {"id": "7"},
        "path": "/u/7",
        "host": "upstream",
        "timeout_s": 30.0,
    }
    assert got["request"] == {"method": "GET", "host": "shop.example", "path": "/users/7", "query": "a=b"}
    assert [(each["upstream"], each["share"], each["balance"]) for each in got["upstreams"]] == [
        ("a", 0.75, "consistent_hash"),
        ("b", 0.25, "least_loaded"),
    ]
    assert got["upstreams"][0]["targets"] == ["h:1", "h:2", "dns://n:3"]
    assert [each.get("hedge") for each in got["upstreams"]] == ["p99", None]
    assert got["source"].endswith("c.yaml:7")


def test_the_target_is_the_one_of_the_key(told: Told) -> None:
    line = "GET http://shop.example/users/7"
    targets = {user: told(line, x_user=user)["upstreams"][0]["target"] for user in map(str, range(30))}
    assert len(set(targets.values())) > 1
    assert targets == {user: told(line, x_user=user)["upstreams"][0]["target"] for user in targets}


def test_policies_in_their_order(told: Told) -> None:
    got = told("PUT /api/x")
    assert (got["route"], got["path"]) == ("api", "/x")
    assert got["policies"] == [
        "body_limit: 1KiB",
        "timeout: off",
        "class: paying, of weight 3",
        "headers: set x-a on the request",
        "headers: remove server from the response",
    ]


def test_answers_without_an_upstream(told: Told) -> None:
    assert (told("GET /ping")["status"], told("GET /ping")["policies"]) == (200, ["body_limit: 10MiB"])
    assert (told("GET /old/x?q")["status"], told("GET /old/x?q")["location"]) == (308, "/new/x?q")


def test_no_route_and_why_not(told: Told) -> None:
    got = told("GET /users/7")
    assert (got["route"], got["status"], got["reason"]) == (None, 404, "no_route")
    misses = {miss["route"]: miss["why_not"] for miss in got["near_misses"]}
    assert misses["gold"] == "header x-tier missing"
    assert misses["user"] == "host: is '', the route wants 'shop.example'"


def test_a_method_that_no_route_takes(told: Told) -> None:
    got = told("POST /ping")
    assert (got["route"], got["status"], got["reason"], got["allow"]) == (
        None,
        405,
        "method_not_allowed",
        ["GET", "HEAD"],
    )


def test_the_route_that_matched_is_no_near_miss(told: Told) -> None:
    assert "gold" not in [miss["route"] for miss in told("GET /users/7", x_tier="gold")["near_misses"]]


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("/a", Asked("GET", "", "/a")),
        ("POST a.Example./b?c=d?e", Asked("POST", "a.example", "/b", {}, "c=d?e")),
        ("https://a.example", Asked("GET", "a.example", "/")),
        ("http://a.example:8080/b?", Asked("GET", "a.example", "/b", {}, "")),
        ("[::1]:80/x", Asked("GET", "[::1]", "/x")),
        ("/a/../b/%7Ec", Asked("GET", "", "/b/~c")),
    ],
)
def test_requests_as_people_write_them(line: str, asked: Asked) -> None:
    assert parse_request(line) == asked


def test_the_host_header_counts_where_the_line_has_none() -> None:
    assert parse_request("/a", [("Host", "A.example:80")]).host == "a.example"


@pytest.mark.parametrize(
    "line", ["", "GET", "GET / HTTP/1.1", "get /", "ftp://a/b", "a.example", "/a%2fb", "/a#b", "a b/c"]
)
def test_what_is_no_request(line: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_request(line)


def test_the_balancers_of_the_config_are_those_that_exist() -> None:
    assert set(WRITTEN) == set(BALANCERS)


@pytest.mark.parametrize(
    ("request_line", "expect", "fault"),
    [
        ("GET /ping", "{route: ping, status: 200}", None),
        ("GET /nope", "{route: none, status: 404}", None),
        ("GET shop.example/users/7", "{upstream: b, path: /u/7}", None),
        ("GET /old/x", "{location: /new/x}", None),
        ("GET /ping", "{route: old}", "route: expected old, but it is ping"),
        ("GET /nope", "{route: ping}", "route: expected ping, but it is none"),
        ("GET shop.example/users/7", "{route: user, status: 200}", "status: expected 200, but it is none"),
        ("PUT /api/x", "{upstream: a}", "upstream: expected a, but it is b"),
        ("PUT /api/x", "{path: /api/x}", "path: expected /api/x, but it is /x"),
        ("GET /a%2fb", "{status: 400}", "the path has an encoded slash"),
    ],
)
def test_tests_of_a_config(request_line: str, expect: str, fault: str | None, loaded: Callable[[str], Loaded]) -> None:
    text = f"{CONFIG}tests: [{{request: {request_line}, expect: {expect}}}]"
    (outcome,) = run_tests(loaded(text).settings)
    assert outcome.faults == ((fault,) if fault else ())


@pytest.mark.parametrize(
    ("request_line", "expect", "fault"),
    [
        ("GET /price", "{route: price}", None),
        ("GET /portfolio/7", "{route: portfolio, upstream: a}", None),
        ("GET /portfolio/7", "{upstream: c}", None),
        ("GET /portfolio/7", "{upstream: b}", "upstream: expected b, but it is a or c"),
        ("GET /price", "{route: price, status: 200}", "status: expected 200, but it is none"),
    ],
)
def test_tests_of_what_python_and_aggregates_answer(
    request_line: str, expect: str, fault: str | None, loaded: Callable[..., Loaded]
) -> None:
    text = f"{PYTHON}tests: [{{request: {request_line}, expect: {expect}}}]"
    (outcome,) = run_tests(loaded(text, import_s=None).settings)
    assert outcome.faults == ((fault,) if fault else ())
