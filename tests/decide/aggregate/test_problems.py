"""What is refused of an aggregate, and where it is said to be."""

from typing import Any

import pytest

from gateway.decide.aggregate.problems import aggregate_problems
from gateway.decide.aggregate.settings import AggregateSettings, SourceSettings

PARAMS = frozenset({"user", "id"})


def source(name: str = "a", path: str = "/x", **more: Any) -> SourceSettings:
    return SourceSettings(name, "u", path, **more)


def found(*sources: SourceSettings, **more: Any) -> list[tuple[Any, str]]:
    return aggregate_problems(AggregateSettings(sources, 1.0, **more), PARAMS)


@pytest.mark.parametrize(
    "settings",
    [
        source(path="/users/{user}/x?y={id}&z=%7B{{}}"),
        source(path="/users/{b.list.0.id}.json"),
        source(headers=(("x-user", "{user}"), ("x-of", "{b.name} of {b}"))),
        source(body={"user": "{user}", "all": ["{b}", "{{literal}}", 1, None, True]}),
        source(pick="data.items[?price > `1`].{id: id, n: length(name)}"),
        source(has_fallback=True, timeout_s=0.3),
    ],
)
def test_what_is_right_has_no_problems(settings: SourceSettings) -> None:
    assert found(settings, source("b")) == []


@pytest.mark.parametrize(
    ("settings", "place", "words"),
    [
        (source(path="x"), ("path",), "begins with /; write /x"),
        (source(path="{b.url}"), ("path",), "not with a reference"),
        (source(path="/a b"), ("path",), "printable ASCII"),
        (source(path="/a/../b"), ("path",), "perhaps /b"),
        (source(path="/a%2fb"), ("path",), "encoded slash"),
        (source(path="/..{b}"), ("path",), "dots before a reference"),
        (source(path="/{usr}"), ("path",), "did you mean user?"),
        (source(path="/{c.id}"), ("path",), "no source and no parameter is named c"),
        (source(path="/{user.name}"), ("path",), "write {user}"),
        (source(path="/{a.id}"), ("path",), "cannot wait for itself"),
        (source(path="/{}"), ("path",), "not a reference"),
        (source(path="/{b..x}"), ("path",), "not a reference"),
        (source(path="/{b"), ("path",), "written twice"),
        (source(path="/b}"), ("path",), "written twice"),
        (source(headers=(("x-a", "{nobody}"),)), ("headers", "x-a"), "nobody"),
        (source(headers=(("Host", "x"),)), ("headers", "Host"), "itself"),
        (source(body={"a": [0, {"b": "{nobody}"}]}), ("body", "a", 1, "b"), "nobody"),
        (source(body={1: "x"}), ("body", 1), "write '1'"),
        (source(pick="a["), ("pick",), "not a JMESPath expression"),
        (source(pick="(" * 5000 + "a" + ")" * 5000), ("pick",), "nested too deep"),
        (source(pick="a | foo(@)"), ("pick",), "no function foo()"),
        (source(required=True, has_fallback=True), ("fallback",), "keep one"),
        (source(method="HEAD"), ("method",), "no body"),
        (source(timeout_s=0.0), ("timeout",), "longer than nothing"),
    ],
)
def test_a_source_with_a_problem(settings: SourceSettings, place: tuple[Any, ...], words: str) -> None:
    problems = found(settings, source("b"))
    assert [at for at, _ in problems] == [("sources", "a", *place)]
    assert words in problems[0][1]


@pytest.mark.parametrize(
    ("more", "place", "words"),
    [
        ({"merge": "mix"}, ("merge",), "object, flat, list"),
        ({"shape": "x"}, ("shape",), "a mapping or a list"),
        ({"shape": {"x": ["{nobody}"]}}, ("shape", "x", 0), "nobody"),
        ({"shape": {"x": "{user}"}}, ("shape",), "refers to no source"),
        ({"shape": {"x": "{a}", "_sources": 1}}, ("shape", "_sources"), "what is missing"),
        ({"forward": ("authorization", "host")}, ("forward", 1), "itself"),
        ({"forward": ("range",)}, ("forward", 0), "merged"),
    ],
)
def test_an_aggregate_with_a_problem(more: dict[str, Any], place: tuple[Any, ...], words: str) -> None:
    problems = found(source(), **more)
    assert [at for at, _ in problems] == [place]
    assert words in problems[0][1]


def test_sources_that_wait_for_each_other_are_named_in_order() -> None:
    problems = found(
        source("free"), source("a", body={"q": "{c.id}"}), source("b", "/{a}/{free}"), source("c", "/{b.x}")
    )
    assert problems == [
        (("sources", "a", "body", "q"), "these sources wait for each other: a waits for c waits for b waits for a")
    ]


def test_a_long_chain_is_no_cycle() -> None:
    chain = [source("s0"), *(source(f"s{n}", f"/{{s{n - 1}}}/{{s{n // 2}}}") for n in range(1, 100))]
    assert found(*chain) == []


def test_no_sources_too_many_and_the_same_twice() -> None:
    assert "at least one" in found()[0][1]
    assert "more than the 100" in found(*(source(f"s{n}") for n in range(101)))[0][1]
    assert "two sources a" in found(source(), source())[0][1]


def test_one_name_for_a_parameter_and_a_source() -> None:
    assert "another name" in found(source(path="/{user}"), source("user"))[0][1]


def test_all_problems_are_told_at_once() -> None:
    assert len(found(source(path="x", pick="["), source("b", "/{nobody}"), forward=("host",))) == 4
