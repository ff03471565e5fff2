"""The routing table, by example and against a plain reading of the rules."""

import itertools
import timeit
from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.decide.route.form import Form, expand, most_specific_first
from gateway.decide.route.match import build_match, parse_match
from gateway.decide.route.settings import MatchSettings
from gateway.decide.route.table import Match, Miss, RouteTable
from tests.decide.route.strategies import Request, match, request


def table(*texts: str) -> RouteTable[str]:
    return RouteTable([(parse_match(text), text) for text in texts])


def taken(routes: RouteTable[str], request: str) -> str | tuple[str, ...]:
    """The route's text, or what goes into Allow."""
    method, target = request.split(" ")
    host, _, path = target.partition("/")
    result = routes.find(method, host, "/" + path)
    return result.value if isinstance(result, Match) else result.allow


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        ("GET shop.example.com/orders", "shop.example.com/orders"),
        ("GET a.example.com/orders", "*.example.com/orders"),
        ("GET a.b.example.com/orders", "*.b.example.com/orders"),
        ("GET c.a.b.example.com/orders", "*.b.example.com/orders"),
        ("GET example.com/orders", "/orders"),
        ("GET b.example.com/orders", "*.example.com/orders"),
        ("GET other/orders", "/orders"),
        ("GET shop.example.com/only-any", "/only-any"),
        ("GET shop.example.com/wild", "*.example.com/wild"),
    ],
)
def test_host_before_path(request_line: str, expected: str) -> None:
    routes = table(
        "/orders",
        "*.example.com/orders",
        "*.b.example.com/orders",
        "shop.example.com/orders",
        "/only-any",
        "*.example.com/wild",
        "/wild",
    )
    assert taken(routes, request_line) == expected


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        ("GET /a/b", "/a/b"),
        ("GET /a/x", "/a/{p}"),
        ("GET /a/x/y", "/a/*"),
        ("GET /a", "/a/*"),
        ("GET /a/", "/a/*"),
        ("GET /a//b", "/a/*"),
        ("GET /b/b", "/{q}/b"),
        ("GET /b/", ()),
        ("GET /b//", ()),
        ("GET //b", ()),
        ("GET /", ()),
        ("GET /A/b", "/{q}/b"),
        ("GET /a/b/c/d", "/a/b/c/{r}"),
        ("GET /a/b/c", "/a/*"),
        ("GET /z/x/y", "/z/{s}/y"),
        ("GET /z/w/v", "/z/w/v"),
        ("GET /z/w/y", "/z/{s}/y"),
    ],
)
def test_segment_by_segment(request_line: str, expected: str) -> None:
    routes = table("/a/*", "/a/{p}", "/a/b", "/{q}/b", "/a/b/c/{r}", "/z/{s}/y", "/z/w/v")
    assert taken(routes, request_line) == expected


def test_rest_at_the_root_takes_everything() -> None:
    routes = table("/*", "/a")
    for path in ("/", "//", "/x", "/x/y/", "/a/"):
        assert taken(routes, f"GET {path}") == "/*"
    assert taken(routes, "GET /a") == "/a"


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        ("GET /a", "GET /a"),
        ("HEAD /a", "GET /a"),
        ("PUT /a", "PUT /{x}"),
        ("DELETE /a", "/*"),
        ("HEAD /h", "HEAD /h"),
        ("GET /h", "GET,PUT /h"),
        ("FOO /h", "/*"),
    ],
)
def test_falls_through_to_a_route_that_takes_the_method(request_line: str, expected: str) -> None:
    routes = table("GET /a", "PUT /{x}", "/*", "GET,PUT /h", "HEAD /h")
    assert taken(routes, request_line) == expected


def test_allow_names_every_method_that_would_be_taken() -> None:
    routes = table("GET /a", "PUT /{x}", "POST a.com/a", "DELETE b.com/a")
    assert taken(routes, "PATCH /a") == ("GET", "HEAD", "PUT")
    assert taken(routes, "PATCH a.com/a") == ("GET", "HEAD", "POST", "PUT")
    assert taken(routes, "PATCH /b/c") == ()


def test_allow_leaves_out_routes_whose_headers_do_not_fit() -> None:
    routes = RouteTable([(build_match(["/a"], ["GET"], headers={"x-tier": "gold"}), 1)])
    assert repr(routes.find("POST", "", "/a", {})) == "Miss(allow=())"
    assert repr(routes.find("POST", "", "/a", {"x-tier": "gold"})) == "Miss(allow=('GET', 'HEAD'))"


def test_more_conditions_go_first() -> None:
    routes = RouteTable(
        [
            (build_match(["/a"]), "plain"),
            (build_match(["/a"], ["GET"]), "method"),
            (build_match(["/a"], headers={"x-tier": "*"}), "tier"),
            (build_match(["/a"], headers={"x-tier": "gold"}), "gold"),
            (build_match(["/a"], query={"v": "2"}), "v2"),
            (build_match(["/a"], ["GET"], query={"v": "2"}), "get v2"),
        ]
    )

    def find(method: str, headers: Mapping[str, str] | None = None, query: str | None = None) -> Match[str]:
        result = routes.find(method, "h", "/a", headers, query)
        assert isinstance(result, Match)
        return result

    assert find("GET").value == "method"
    assert find("PUT").value == "plain"
    assert find("PUT", {"x-tier": "silver"}).value == "tier"
    assert find("PUT", {"x-tier": "gold"}).value == "gold"
    assert find("PUT", {}, "x=1&v=%32").value == "v2"
    assert find("PUT", {}, "v=1&v=2").value == "plain"
    assert find("PUT", {}, "v=2&v=1").value == "v2"
    assert find("PUT", {}, "v=22&vv=2").value == "plain"
    assert find("GET", {"x-tier": "gold"}, "v=2").value == "get v2"


def test_cacheable_unless_headers_or_query_were_asked() -> None:
    routes = RouteTable(
        [
            (build_match(["/a"], headers={"x": "1"}), 1),
            (build_match(["/{p}"]), 2),
            (build_match(["/b/c"], ["GET"]), 3),
            (build_match(["/b/c"], ["PUT"], query={"x": "1"}), 4),
        ]
    )
    assert routes.find("GET", "", "/b").cacheable
    assert not routes.find("GET", "", "/a").cacheable
    assert not routes.find("GET", "", "/a", {"x": "1"}).cacheable
    assert routes.find("GET", "", "/b/c").cacheable
    assert not routes.find("PUT", "", "/b/c").cacheable
    assert routes.find("GET", "", "/none/x").cacheable


def test_params_and_rest_are_as_they_arrived() -> None:
    routes = table("/users/{id}/files/{name}/*", "/x/*", "/{a}/{b}", "/p")

    def parts(path: str) -> tuple[dict[str, str], str]:
        result = routes.find("GET", "", path)
        assert isinstance(result, Match)
        return result.params, result.rest

    assert parts("/users/a%20b/files/%3F") == ({"id": "a%20b", "name": "%3F"}, "")
    assert parts("/users/1/files/2/") == ({"id": "1", "name": "2"}, "/")
    assert parts("/users/1/files/2//a/b") == ({"id": "1", "name": "2"}, "//a/b")
    assert parts("/x") == ({}, "")
    assert parts("/x/y/z") == ({}, "/y/z")
    assert parts("/y/z") == ({"a": "y", "b": "z"}, "")
    assert parts("/p") == ({}, "")
    root = table("/*").find("GET", "", "/a/b")
    assert isinstance(root, Match)
    assert root.rest == "/a/b"


def test_states_stay_bounded_whatever_is_asked() -> None:
    """A rest on every literal beside a deep parameter branch makes as many states as there are pairs."""
    routes = table(*(f"GET /s{number}/*" for number in range(300)), "/{t}/" + "/".join("abcdefghij"))
    deep = "/".join("abcdefghij")
    for number in range(300):
        assert taken(routes, f"PUT /s{number}/{deep}") == "/{t}/" + deep
        assert taken(routes, f"GET /s{number}/{deep}") == f"GET /s{number}/*"
    stats = routes.stats()
    assert 0 < stats["states"] <= stats["states_max"] < 3000


def test_long_paths_cost_no_more_than_the_longest_pattern() -> None:
    """Every mix of literal and parameter on eight levels: one state a level on the way, none beyond."""
    mixes = itertools.product("a{", repeat=8)
    texts = [
        "GET /" + "/".join(f"{{p{place}}}" if kind == "{" else "a" for place, kind in enumerate(mix)) for mix in mixes
    ]
    routes = table(*texts)
    assert taken(routes, "GET /" + "/".join("a" * 8)) == "GET /" + "/".join("a" * 8)
    assert taken(routes, "GET /" + "/".join("a" * 16)) == ()
    before = routes.stats()["states"]
    assert before < 16
    assert taken(routes, "GET /" + "/".join("a" * 100_000)) == ()
    assert routes.stats()["states"] == before


def test_ten_thousand_routes_cost_as_much_as_ten() -> None:
    """Measured as the best of many short runs, in turn, so that other work on the machine does not decide."""
    shapes = ("GET /s{n}/orders", "/s{n}/users/{{id}}", "/s{n}/api/*", "GET /{{t}}/a{n}/b", "PUT h{n}.com/x")
    few, many = (
        table(*(shape.format(n=number) for number in range(count // 5) for shape in shapes)) for count in (10, 10_000)
    )
    paths = ["/s1/orders", "/s1/users/17", "/s1/api/a/b", "/t/a1/b", "/nothing"]

    def seconds(routes: RouteTable[str]) -> float:
        return timeit.timeit(lambda: [routes.find("GET", "h1.com", path) for path in paths], number=50)

    best = [(seconds(few), seconds(many)) for _ in range(60)]
    assert min(many for _, many in best) < 1.3 * min(few for few, _ in best)


# --- against a plain reading of the rules -------------------------------------------------------------------------


def fits_host(form: Form[int], host: str) -> bool:
    return form.host in ("", host) or (form.host.startswith("*.") and host.endswith(form.host[1:]))


def fits_path(form: Form[int], path: str) -> bool:
    segments = path[1:].split("/")
    wanted = form.pattern.segments
    if len(segments) < len(wanted) or (len(segments) > len(wanted) and not form.pattern.rest):
        return False
    return all(w == s or (w is None and s) for w, s in zip(wanted, segments, strict=False)) and (
        bool(wanted) or form.pattern.rest
    )


def fits_fields(form: Form[int], headers: dict[str, str], query: dict[str, str]) -> bool:
    pairs = [(headers, form.headers), (query, form.query)]
    return all(n in has and v in ("*", has[n]) for has, wanted in pairs for n, v in wanted)


def fits_method(form: Form[int], method: str) -> bool:
    return not form.methods or method in form.methods or (method == "HEAD" and "GET" in form.methods)


def linear_scan(entries: list[tuple[MatchSettings, int]], asked: Request) -> Form[int] | set[str]:
    """The first form that fits, most specific first; else the methods of those that fit but for the method."""
    method, host, path, headers, query = asked
    allow: set[str] = set()
    for form in most_specific_first(entries):
        if fits_host(form, host) and fits_path(form, path) and fits_fields(form, headers, query):
            if fits_method(form, method):
                return form
            allow.update(form.methods, {"HEAD"} if "GET" in form.methods else ())
    return allow


@settings(max_examples=600)
@given(st.lists(match, max_size=12), st.lists(request, min_size=1, max_size=12))
@example([build_match(["/a/*"]), build_match(["/{p}/b"])], [("GET", "", "/a/b", {}, {})])
def test_agrees_with_a_linear_scan(matches: list[MatchSettings], asked: list[Request]) -> None:
    entries = [(settings, number) for number, settings in enumerate(matches)]
    routes = RouteTable(entries)
    for one in asked:
        method, host, path, headers, query = one
        text = "&".join(f"{name}={value}" for name, value in query.items())
        result = routes.find(method, host, path, headers.get, text)
        expected = linear_scan(entries, one)
        if isinstance(result, Miss):
            assert set(result.allow) == expected
        else:
            assert isinstance(expected, Form)
            assert result.value == expected.value
            check_parts(expected, path, result)


def check_parts(form: Form[int], path: str, result: Match[int]) -> None:
    """Params and rest put back into the pattern give the path."""
    values = iter(form.pattern.params)
    whole = "".join(f"/{result.params[next(values)] if s is None else s}" for s in form.pattern.segments)
    assert whole + result.rest == path


def test_expand_makes_hosts_times_paths() -> None:
    forms = list(expand([(build_match(["/a", "/b"], hosts=["x.com", "*.y.com"]), "v")]))
    assert [(form.host, form.pattern.text) for form in forms] == [
        ("x.com", "/a"),
        ("x.com", "/b"),
        ("*.y.com", "/a"),
        ("*.y.com", "/b"),
    ]
