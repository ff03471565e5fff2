"""Matches as people write them."""

import pytest

from gateway.decide.route.match import build_match, parse_match, parse_pattern
from gateway.decide.route.settings import MatchSettings


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("/orders", MatchSettings(("/orders",))),
        ("/*", MatchSettings(("/*",))),
        ("GET /", MatchSettings(("/",), ("GET",))),
        ("GET,POST /a", MatchSettings(("/a",), ("GET", "POST"))),
        ("POST,POST  /a", MatchSettings(("/a",), ("POST",))),
        ("shop.example.com/orders/{id}", MatchSettings(("/orders/{id}",), (), ("shop.example.com",))),
        (
            "POST *.Example.com/{a}/x/*",
            MatchSettings(("/{a}/x/*",), ("POST",), ("*.example.com",)),
        ),
        ("[::1]/x", MatchSettings(("/x",), (), ("[::1]",))),
        ("M-SEARCH /x", MatchSettings(("/x",), ("M-SEARCH",))),
    ],
)
def test_short_form(text: str, settings: MatchSettings) -> None:
    assert parse_match(text) == settings


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "needs a path"),
        ("GET", "perhaps GET /"),
        ("shop.example.com", "perhaps shop.example.com/\\*"),
        ("get /a", "'get' is written 'GET'"),
        ("GET, POST /a", "one space at most"),
        ("GET, /a", "without spaces"),
        ("* /a", "leave the method out"),
        ("*/a", "leave the host out"),
        ("https://a.example.com/x", "no scheme; write a.example.com/x"),
        ("a.example.com:8080/x", "without their port; write a.example.com"),
        ("a.*.com/x", "only for the first labels"),
        ("*a.com/x", "only for the first labels"),
        ("sh op.example.com /x /y", "one space"),
        ("-x.example.com/", "not a host name"),
        ("/a?b=c", "query: "),
        ("/a*", "only at the end"),
        ("/*/a", "only at the end"),
        ("/**", "only at the end"),
        ("/a/{id", "whole segment"),
        ("/a/{id}.json", "whole segment"),
        ("/a/{}", "whole segment"),
        ("/{id}/{id}", "twice"),
        ("/a/../b", "dot segments"),
        ("/a/%2e/b", "dot segments"),
        ("/a%2fb", "encoded slash"),
        ("/a#b", "fragment"),
    ],
)
def test_mistakes_are_told_with_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        parse_match(text)


def test_long_form() -> None:
    settings = build_match(["/a", "/b/*"], ["GET"], ["A.example.com."], {"X-Tier": "gold"}, {"v": "*"})
    assert settings == MatchSettings(("/a", "/b/*"), ("GET",), ("a.example.com",), (("x-tier", "gold"),), (("v", "*"),))
    with pytest.raises(ValueError, match="keep one"):
        build_match(["/a/{x}", "/a/{y}"])
    with pytest.raises(ValueError, match="needs a path"):
        build_match([])
    with pytest.raises(ValueError, match="name of a header"):
        build_match(["/a"], headers={"x tier": "gold"})
    with pytest.raises(ValueError, match="write /orders"):
        build_match(["orders"])


def test_pattern_is_in_the_form_of_the_paths_it_meets() -> None:
    assert parse_pattern("/café au lait/%7E{a}".replace("{a}", "")).segments == ("caf%C3%A9%20au%20lait", "~")
    pattern = parse_pattern("/a/{x}//{y}/*")
    assert pattern.segments == ("a", None, "", None)
    assert pattern.params == ("x", "y")
    assert pattern.rest
    assert pattern.literal is None
    assert parse_pattern("/a//b/").literal == "/a//b/"
    assert parse_pattern("/{a}/*").shape == parse_pattern("/{b}/*").shape
