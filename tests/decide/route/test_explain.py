"""Near misses, in words."""

import pytest
from hypothesis import given

from gateway.decide.route.explain import Asked, near_misses, why_not
from gateway.decide.route.form import expand
from gateway.decide.route.match import build_match, parse_match
from gateway.decide.route.settings import MatchSettings
from gateway.decide.route.table import Match, RouteTable
from tests.decide.route.strategies import Request, match, request


@pytest.mark.parametrize(
    ("route", "path", "why"),
    [
        ("/shop/orders", "/shop/ordres", "path: segment 2 is 'ordres', the route wants 'orders'"),
        ("/shop/{id}", "/shop", "path: ends after segment 1, the route wants {id} next"),
        ("/shop/{id}", "/shop/", "path: segment 2 is empty, the route wants {id}"),
        ("/shop", "/shop/x", "path: goes on with 'x' after segment 1, where the route ends"),
        ("/shop", "/shop/", "path: goes on with '' after segment 1, where the route ends"),
        ("GET,POST /a", "/a", "method: takes GET, POST"),
        ("a.com/a", "/a", "host: is 'b.com', the route wants 'a.com'"),
        ("*.b.com/a", "/a", "host: is 'b.com', the route wants '*.b.com'"),
        ("GET /a", "/b", "path: segment 1 is 'b', the route wants 'a'; method: takes GET"),
    ],
)
def test_why_a_route_does_not_fit(route: str, path: str, why: str) -> None:
    assert near_misses([(parse_match(route), "r")], Asked("PUT", "b.com", path)) == [("r", why)]


def test_headers_and_query() -> None:
    entries = [(build_match(["/a"], headers={"X-Tier": "gold"}, query={"v": "2", "w": "*"}), "r")]

    def why(headers: dict[str, str], query: str | None) -> str:
        return near_misses(entries, Asked("GET", "", "/a", headers, query))[0][1]

    assert why({}, "v=2&w") == "header x-tier missing"
    assert why({"x-tier": "tin"}, "v=2&w") == "header x-tier is 'tin', the route wants 'gold'"
    assert why({"x-tier": "gold"}, "v=3") == "query v is '3', the route wants '2'; query w missing"
    assert near_misses(entries, Asked("GET", "", "/a", {"x-tier": "gold"}, "v=2&w=x")) == []


def test_closest_first_and_one_line_for_each_route() -> None:
    entries = [
        (parse_match("POST /x"), "far"),
        (build_match(["/y", "/shop/orders/{id}/items"]), "one path is close"),
        (parse_match("POST /shop/orders/{id}"), "method"),
        (parse_match("/shop/{x}/{y}"), "fits"),
        (parse_match("/zzz"), "path"),
    ]
    asked = Asked("GET", "", "/shop/orders/17")
    assert [name for name, _ in near_misses(entries, asked)] == ["method", "one path is close", "path", "far"]
    assert [name for name, _ in near_misses(entries, asked, limit=1)] == ["method"]


@given(match, request)
def test_there_is_a_reason_exactly_when_the_table_says_no(settings: MatchSettings, asked: Request) -> None:
    method, host, path, headers, query = asked
    text = "&".join(f"{name}={value}" for name, value in query.items())
    entries = [(settings, 1)]
    taken = RouteTable(entries).find(method, host, path, headers, text)
    reasons = [why_not(form, Asked(method, host, path, headers, text)) for form in expand(entries)]
    assert isinstance(taken, Match) == ([] in reasons)
