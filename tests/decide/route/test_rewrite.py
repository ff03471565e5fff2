"""Paths for the upstream, and places of redirects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.route.match import parse_match
from gateway.decide.route.path import PathError, normalise_path
from gateway.decide.route.rewrite import Redirect, Rewrite, rewrite_problems
from gateway.decide.route.table import Match, RouteTable
from gateway.pipeline.settings import ForwardSettings, RedirectSettings


def forward(*, rewrite: str = "", strip: str = "") -> ForwardSettings:
    return ForwardSettings((("orders", 1),), rewrite, strip)


def sent(match: str, path: str, settings: ForwardSettings) -> str:
    """The path that the upstream gets for `path`."""
    assert rewrite_problems(settings, parse_match(match)) == []
    found = RouteTable([(parse_match(match), None)]).find("GET", "", path)
    assert isinstance(found, Match)
    return Rewrite(settings)(path, found)


@pytest.mark.parametrize(
    ("match", "path", "rewrite", "expected"),
    [
        ("/orders", "/orders", "", "/orders"),
        ("/orders", "/orders", "/v2/orders", "/v2/orders"),
        ("/u/{id}", "/u/a%20b", "/users/{id}/home", "/users/a%20b/home"),
        ("/u/{id}/{f}", "/u/1/2", "/{f}-{id}.json", "/2-1.json"),
        ("/api/*", "/api/x/y", "/v2/*", "/v2/x/y"),
        ("/api/*", "/api", "/v2/*", "/v2"),
        ("/api/*", "/api/", "/v2/*", "/v2/"),
        ("/api/*", "/api//x", "/v2/*", "/v2//x"),
        ("/api/*", "/api/x", "/v2", "/v2"),
        ("/api/*", "/api", "/*", "/"),
        ("/api/*", "/api/x", "/*", "/x"),
        ("/{t}/api/*", "/acme/api/x", "/{t}/*", "/acme/x"),
        ("/u/{id}", "/u/{x}", "/{id}", "/{x}"),
    ],
)
def test_rewrite(match: str, path: str, rewrite: str, expected: str) -> None:
    assert sent(match, path, forward(rewrite=rewrite)) == expected


@pytest.mark.parametrize(
    ("path", "strip", "expected"),
    [
        ("/api/x", "/api", "/x"),
        ("/api/x", "/api/", "/x"),
        ("/api/x", "/api/*", "/x"),
        ("/api", "/api", "/"),
        ("/api/", "/api", "/"),
        ("/api//x", "/api", "//x"),
        ("/apix", "/api", "/apix"),
        ("/other", "/api", "/other"),
        ("/a/b/c", "/a/b", "/c"),
        ("/a", "/a/b", "/a"),
        ("/api/x", "/", "/api/x"),
        ("/t/acme/x/y", "/t/{tenant}", "/x/y"),
        ("/t/acme", "/t/{tenant}", "/"),
        ("/t", "/t/{tenant}", "/t"),
        ("/t//x", "/t/{tenant}", "/t//x"),
        ("/s/acme/x", "/t/{tenant}", "/s/acme/x"),
    ],
)
def test_strip(path: str, strip: str, expected: str) -> None:
    assert sent("/*", path, forward(strip=strip)) == expected


@pytest.mark.parametrize(
    ("location", "path", "query", "expected"),
    [
        ("https://shop.example.com/", "/old/a/b", None, "https://shop.example.com/a/b"),
        ("https://shop.example.com/", "/old/a", "x=1&y", "https://shop.example.com/a?x=1&y"),
        ("https://shop.example.com/", "/old", "", "https://shop.example.com/?"),
        ("https://shop.example.com", "/old/a", None, "https://shop.example.com"),
        ("/new/", "/old/a", None, "/new/a"),
        ("/new/", "/old/", None, "/new/"),
        ("/new", "/old/a", "q", "/new?q"),
        ("/new?from=old", "/old/a", "x=1", "/new?from=old&x=1"),
        ("/new/#top", "/old/a", "x=1", "/new/a?x=1#top"),
        ("/", "/old/a", None, "/a"),
        ("/", "/old//evil.example/x", None, "/evil.example/x"),
        ("/", "/old///evil.example", None, "/evil.example"),
    ],
)
def test_redirect(location: str, path: str, query: str | None, expected: str) -> None:
    found = RouteTable([(parse_match("/old/*"), None)]).find("GET", "", path)
    assert isinstance(found, Match)
    assert Redirect(RedirectSettings(location))(found.rest, query) == expected


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (forward(rewrite="/x/{nr}"), r"uses \{nr\}, but /orders/\{id\} has \{id\}"),
        (forward(rewrite="/x/*"), r"ends with /\*, but /orders/\{id\} does not"),
        (forward(rewrite="x/{id}"), r"write /x/\{id\}"),
        (forward(rewrite="/x/{id"), "takes {param}"),
        (forward(rewrite="/x/*/y"), "takes {param}"),
        (forward(rewrite="/x/.{id}"), "dots before a parameter"),
        (forward(rewrite="/x/../{id}"), "dot segments"),
        (forward(rewrite="/x?a={id}"), "question mark"),
        (forward(rewrite="/x%2f{id}"), "encoded slash"),
        (forward(rewrite="/x", strip="/y"), "exclude each other"),
        (forward(strip="orders"), "strip: a path begins with /"),
        (forward(strip="/a//b"), "empty segment"),
    ],
)
def test_problems_are_told(settings: ForwardSettings, problem: str) -> None:
    found = rewrite_problems(settings, parse_match("/orders/{id}"))
    assert len(found) == 1
    with pytest.raises(ValueError, match=problem):
        raise ValueError(found[0])


pieces = st.sampled_from(["/", ".", "..", "%2e", "a", "%2f", "%20", "..;", ";", "%3b", "~", "{id}", "%0d%0a", "evil"])


@given(st.lists(pieces, max_size=10).map("".join))
def test_no_request_leaves_the_place_that_the_rewrite_means(tail: str) -> None:
    try:
        path = normalise_path("/in/" + tail)
    except PathError:
        return
    found = RouteTable([(parse_match("/in/{id}/*"), None)]).find("GET", "", path)
    if isinstance(found, Match):
        target = Rewrite(forward(rewrite="/out/{id}/*"))(path, found)
        assert target.startswith("/out/")
        assert normalise_path(target) == target
