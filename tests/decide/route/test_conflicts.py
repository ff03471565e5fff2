"""Ties and routes out of reach."""

from typing import Any

import pytest

from gateway.decide.route.conflicts import conflicts, ties, unreachable
from gateway.decide.route.match import build_match, parse_match
from gateway.decide.route.settings import MatchSettings


def named(*texts: str) -> list[tuple[MatchSettings, str]]:
    return [(parse_match(text), f"{number}: {text}") for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    "pair",
    [
        ("/a", "/a"),
        ("/a/{x}", "/a/{y}"),
        ("/a/{x}/*", "/a/{y}/*"),
        ("GET /a", "GET,POST /a"),
        ("a.com/x", "A.com/x"),
        ("*.a.com/x", "*.a.com/x"),
        ("/%7Ea", "/~a"),
    ],
)
def test_ties(pair: tuple[str, str]) -> None:
    entries = named(*pair)
    assert conflicts(entries) == [(entries[0][1], entries[1][1])]


@pytest.mark.parametrize(
    "pair",
    [
        ("/a", "/b"),
        ("/a", "/a/"),
        ("/a", "/a/*"),
        ("/a/{x}", "/a/b"),
        ("GET /a", "POST /a"),
        ("GET /a", "HEAD /a"),
        ("GET /a", "/a"),
        ("a.com/x", "/x"),
        ("a.com/x", "*.com/x"),
        ("/{x}/b", "/a/{x}"),
    ],
)
def test_no_ties(pair: tuple[str, str]) -> None:
    assert conflicts(named(*pair)) == []


def build(**conditions: Any) -> MatchSettings:
    return build_match(["/a"], **conditions)


@pytest.mark.parametrize(
    ("one", "other", "tie"),
    [
        (build(headers={"x": "1"}), build(headers={"x": "2"}), False),
        (build(headers={"x": "1"}), build(headers={"x": "1"}), True),
        (build(headers={"x": "1"}), build(headers={"y": "1"}), True),
        (build(headers={"x": "1"}), build(headers={"x": "*"}), False),
        (build(headers={"x": "*"}), build(headers={"x": "*"}), True),
        (build(headers={"x": "1"}), build(query={"x": "1"}), False),
        (build(headers={"x": "1"}), build(methods=["GET"]), False),
        (build(query={"x": "1"}), build(query={"x": "2"}), False),
        (build(headers={"x": "1", "y": "*"}), build(headers={"x": "*", "y": "2"}), True),
        (build(headers={"x": "1", "z": "1"}), build(headers={"x": "2", "y": "1"}), False),
        (build(headers={"x": "1", "z": "1"}), build(headers={"x": "1", "y": "1"}), True),
        (build(methods=["GET"], headers={"x": "1"}), build(methods=["PUT"], headers={"y": "1"}), False),
        (build(methods=["GET"], headers={"x": "1"}), build(methods=["PUT", "GET"], headers={"y": "1"}), True),
    ],
)
def test_conditions_that_one_request_can_fit_both(one: MatchSettings, other: MatchSettings, tie: bool) -> None:
    assert conflicts([(one, "one"), (other, "other")]) == ([("one", "other")] if tie else [])
    assert conflicts([(other, "other"), (one, "one")]) == ([("other", "one")] if tie else [])


def test_each_route_of_a_tie_is_told() -> None:
    entries = named("GET /a", "POST /a", "/b", "GET,POST /a", "/b", "/b")
    names = [name for _, name in entries]
    assert set(conflicts(entries)) == {
        (names[0], names[3]),
        (names[1], names[3]),
        (names[2], names[4]),
        (names[2], names[5]),
    }
    ((one, other),) = ties(named("a.com/x/{p}", "a.com/x/{q}"))
    assert (one.host, one.pattern.text, other.pattern.text) == ("a.com", "/x/{p}", "/x/{q}")


def test_many_routes_on_one_path_that_differ_by_value_are_told_apart_at_once() -> None:
    """Comparing each with each would be 200 million comparisons."""
    entries = [(build(headers={"x-tenant": f"t{number}"}), number) for number in range(20_000)]
    assert conflicts(entries) == []
    assert conflicts([*entries, (build(headers={"x-tenant": "t7"}), -1)]) == [(7, -1)]


def test_methods_that_the_gateway_answers_itself_reach_no_route() -> None:
    entries = named("CONNECT /a", "TRACE,CONNECT /b", "GET,TRACE /c", "/d")
    assert unreachable(entries) == [
        ("0: CONNECT /a", "CONNECT is answered by the gateway itself"),
        ("1: TRACE,CONNECT /b", "TRACE and CONNECT is answered by the gateway itself"),
    ]


def test_a_rest_that_others_take_whole_is_out_of_reach() -> None:
    covering = ["/api", "/api/{x}/*", "/api//*"]
    assert unreachable(named("/api/*", *covering)) == [("0: /api/*", "more specific routes take all of /api/*")]
    assert len(unreachable(named("GET /api/*", *covering))) == 1
    deeper = ["/api", "/api/{x}", "/api/{x}/{y}/*", "/api/{x}//*", "/api//*"]
    assert len(unreachable(named("/api/*", *deeper))) == 1


@pytest.mark.parametrize(
    "others",
    [
        ["/api", "/api/{x}/*"],
        ["/api/{x}/*", "/api//*"],
        ["/api", "GET /api/{x}/*", "/api//*"],
        ["/api", "/api/x/*", "/api//*"],
        ["a.com/api", "a.com/api/{x}/*", "a.com/api//*"],
    ],
)
def test_a_rest_that_others_take_in_part_is_in_reach(others: list[str]) -> None:
    assert unreachable(named("/api/*", *others)) == []


def test_a_route_is_in_reach_if_one_of_its_paths_is() -> None:
    entries: list[tuple[MatchSettings, str]] = [
        (build_match(["/api/*", "/other"]), "both"),
        *named("/api", "/api/{x}/*", "/api//*"),
    ]
    assert unreachable(entries) == []
