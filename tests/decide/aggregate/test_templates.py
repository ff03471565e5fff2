"""What references become in paths, header values and JSON."""

import json
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.json import loads
from gateway.decide.aggregate.parts import Part
from gateway.decide.aggregate.references import MissingValue
from gateway.decide.aggregate.templates import HeaderTemplate, JsonTemplate, PathTemplate, Scope

SOURCES = frozenset({"a", "b"})
VALUE = {
    "region": "north & south",
    "path": "x/y",
    "list": [{"id": 7}, "second"],
    "price": 1.50,
    "on": True,
    "none": None,
    "empty": "",
    "0": "by name",
    "most": 2**64 - 1,
    "huge": 2**64,
}


def scope(value: Any = VALUE, **params: str) -> Scope:
    raw = json.dumps(value).encode()
    return Scope({"user": "ada", **params}, {"a": Part(raw, loads(raw))})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/x", "/x"),
        ("/users/{user}", "/users/ada"),
        ("/n/{a.region}", "/n/north%20%26%20south"),
        ("/n/{a.path}/z", "/n/x%2Fy/z"),
        ("/i/{a.list.0.id}.json", "/i/7.json"),
        ("/i/{a.list.1}", "/i/second"),
        ("/i/{a.0}", "/i/by%20name"),
        ("/p/{a.price}/{a.on}", "/p/1.5/true"),
        ("/p/{a.most}", "/p/18446744073709551615"),
        ("/q?r={a.region}&e={a.empty}", "/q?r=north%20%26%20south&e="),
        ("/{{x}}/{user}", "/{x}/ada"),
    ],
)
def test_paths(text: str, expected: str) -> None:
    assert PathTemplate(text, SOURCES).render(scope()) == expected


def test_a_parameter_stands_in_a_path_as_it_came_and_in_a_query_as_one_value() -> None:
    came = scope(user="a%20b;v=1&admin=1")
    assert PathTemplate("/u/{user}", SOURCES).render(came) == "/u/a%20b;v=1&admin=1"
    assert PathTemplate("/u?{user}", SOURCES).render(scope(user="%FF%2B+")) == "/u?%FF%2B%2B"
    assert PathTemplate("/u?name={user}&x", SOURCES).render(came) == "/u?name=a%20b%3Bv%3D1%26admin%3D1&x"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/n/{b.x}", "b has no value"),
        ("/n/{a.nothing}", "{a.nothing} is not in the answer"),
        ("/n/{a.list.2}", "not in the answer"),
        ("/n/{a.list.-1}", "not in the answer"),
        ("/n/{a.region.x}", "not in the answer"),
        ("/n/{a.none}", "is null"),
        ("/n/{a.list}", "is a list"),
        ("/n/{a}", "is an object"),
        ("/n/{a.empty}", "is empty"),
        ("/n?x={a.huge}", "beyond 64 bits"),
    ],
)
def test_what_cannot_stand_in_a_path(text: str, words: str) -> None:
    with pytest.raises(MissingValue, match=words.replace("{", r"\{").replace(".", r"\.")):
        PathTemplate(text, SOURCES).render(scope())


@pytest.mark.parametrize("value", ["..", ".", "../admin", "x/../../admin", "..\\x", "..;", "a/..", "\0"])
def test_no_value_walks_up_a_path(value: str) -> None:
    with pytest.raises(MissingValue):
        PathTemplate("/n/{a.v}/x", SOURCES).render(scope({"v": value}))
    assert PathTemplate("/n?x={a.v}", SOURCES).render(scope({"v": value})).startswith("/n?x=")


def test_dots_beside_a_value_are_seen_as_one_segment() -> None:
    with pytest.raises(MissingValue):
        PathTemplate("/n/{a.v}./x", SOURCES).render(scope({"v": "."}))
    assert PathTemplate("/n/{a.v}.json", SOURCES).render(scope({"v": "..x"})) == "/n/..x.json"


@given(st.text())
def test_a_value_is_one_segment_and_one_query_value_whatever_it_is(value: str) -> None:
    try:
        target = PathTemplate("/n/{a.v}/end?q={a.v}&z=1", SOURCES).render(scope({"v": value}))
    except MissingValue:
        return
    assert target.isascii()
    assert target.isprintable()
    path, query = target.split("?")
    before, segment, after = path.split("/")[1:]
    assert (before, unquote(segment), after) == ("n", value, "end")
    assert [unquote(each) for each in query.split("&")] == [f"q={value}", "z=1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{user}", "ada"),
        ("u={user}; r={a.region}", "u=ada; r=north & south"),
        ("{a.price}", "1.5"),
    ],
)
def test_header_values(text: str, expected: str) -> None:
    assert HeaderTemplate(text, SOURCES).render(scope()) == expected


def test_a_header_value_that_is_not_ascii_goes_as_utf8() -> None:
    assert HeaderTemplate("{user}", SOURCES).render(scope(user="%C3%A9")).encode("latin-1") == "é".encode()


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "\x00", "\x7f", "\x1b"])
def test_nothing_ends_a_header_line(value: str) -> None:
    with pytest.raises(MissingValue):
        HeaderTemplate("{a.v}", SOURCES).render(scope({"v": f"x{value}y"}))
    with pytest.raises(MissingValue):
        HeaderTemplate("{user}", SOURCES).render(scope(user="x%0d%0ay"))


@given(st.text())
def test_header_values_are_field_values_whatever_comes(value: str) -> None:
    try:
        rendered = HeaderTemplate("v={a.v}", SOURCES).render(scope({"v": value}))
    except MissingValue:
        return
    assert not set(rendered) & set("\r\n\0")
    rendered.encode("latin-1")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{a.list}", [{"id": 7}, "second"]),
        ("{a.none}", None),
        ("{a.on}", True),
        ("{user}", "ada"),
        ("{a}", VALUE),
        ("r: {a.region}", "r: north & south"),
        ({"x": ["{a.price}", "{user}", 1], "{user}": {}, "e": []}, {"x": [1.5, "ada", 1], "{user}": {}, "e": []}),
        ({"x": "{{a}}", "y": None, "z": False}, {"x": "{a}", "y": None, "z": False}),
    ],
)
def test_json(template: Any, expected: Any) -> None:
    assert json.loads(JsonTemplate(template, SOURCES).render(scope())) == expected


def test_numbers_keep_their_digits() -> None:
    raw = b'{"price": 10.10, "big": 12345678901234567890123}'
    kept = Scope({}, {"a": Part(raw, json.loads(raw))})
    assert JsonTemplate({"all": "{a}"}, SOURCES).render(kept) == b'{"all":' + raw + b"}"


@given(st.text())
def test_texts_in_json_stay_texts(value: str) -> None:
    rendered = JsonTemplate({"x": "<{a.v}>", "y": "{a.v}"}, SOURCES).render(scope({"v": value}))
    assert json.loads(rendered) == {"x": f"<{value}>", "y": value}


def test_a_missing_value_spoils_a_body_and_is_null_in_a_shape() -> None:
    template = JsonTemplate({"x": "{b.x}", "y": "{a.nothing}", "z": "{a.none} {user}", "u": "{user}"}, SOURCES)
    with pytest.raises(MissingValue):
        template.render(scope())
    shown = json.loads(b"".join(template.render_what_is_there(scope())))
    assert shown == {"x": None, "y": None, "z": None, "u": "ada"}


def test_what_has_no_references_is_made_once() -> None:
    assert PathTemplate("/x?{{}}", SOURCES).constant == "/x?{}"
    assert HeaderTemplate("x", SOURCES).constant == "x"
    assert JsonTemplate({"a": [1, "x"]}, SOURCES).constant == b'{"a":[1,"x"]}'
    assert PathTemplate("/{user}", SOURCES).constant is None
    assert JsonTemplate("{user}", SOURCES).constant is None
