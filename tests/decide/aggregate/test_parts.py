"""Answers parsed: what is JSON, what pick and rename make of it, and what a process carries back."""

import json
import pickle
from typing import Any

import pytest

from gateway.decide.aggregate.parts import BadAnswer, digest, parse
from gateway.decide.aggregate.pick import Transform, pick_problem
from gateway.decide.aggregate.references import MISSING

PLAIN = Transform()


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{", b"nul", b"<html>", b'{"x":NaN}', b'"\xff"', b"{}{}", b"\xef\xbb\xbf{}", b"[" * 2000]
)
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(BadAnswer) as caught:
        parse(body, PLAIN, False)
    assert caught.value.reason == "not_json"


def test_the_text_is_kept_without_the_blanks_around_it() -> None:
    part = parse(b' \r\n{"a": 1.0} \n', PLAIN, False)
    assert part.raw == b'{"a": 1.0}'


def test_what_is_nested_too_deeply_to_be_taken_apart() -> None:
    deep = b"[" * 300 + b"]" * 300
    assert parse(deep, PLAIN, False).raw == deep
    with pytest.raises(BadAnswer):
        parse(deep, PLAIN, True)
    with pytest.raises(BadAnswer):
        parse(deep, Transform("@"), False)


@pytest.mark.parametrize(
    ("pick", "rename", "value", "expected"),
    [
        ("data", (), {"data": [1, 2]}, [1, 2]),
        ("data", (), {"other": 1}, None),
        ("items[?price > `1`].name | [0]", (), {"items": [{"price": 1}, {"price": 2, "name": "x"}]}, "x"),
        ("", (("ccy", "currency"),), {"ccy": "EUR", "x": 1}, {"currency": "EUR", "x": 1}),
        ("items", (("a", "b"),), {"items": [{"a": 1}, 2, {"c": 3}]}, [{"b": 1}, 2, {"c": 3}]),
        ("", (("a", "b"),), "text", "text"),
    ],
)
def test_pick_and_rename(pick: str, rename: tuple[tuple[str, str], ...], value: Any, expected: Any) -> None:
    part = parse(json.dumps(value).encode(), Transform(pick, rename), False)
    assert json.loads(part.raw) == part.value == expected


@pytest.mark.parametrize("pick", ["length(@)", "sum(x)", "sort(x)", "&x"])
def test_a_pick_that_does_not_fit(pick: str) -> None:
    assert pick_problem(pick) == ""
    with pytest.raises(BadAnswer):
        parse(b'{"x": [1, "a"]}' if pick != "length(@)" else b"7", Transform(pick), False)


def test_a_digest_crosses_processes_with_what_was_asked_for() -> None:
    body = b'{"items": [{"id": 7}], "name": "x", "n": null}'
    asked = (("items", "0"), ("name",), ("n",), ("nothing",))
    function, arguments = pickle.loads(pickle.dumps((digest, (body, PLAIN, asked, True))))
    part = pickle.loads(pickle.dumps(function(*arguments)))
    assert part.raw == b""
    assert part.at(("items", "0")) == {"id": 7}
    assert part.json_at(("name",)) == b'"x"'
    assert part.at(("n",)) is None
    assert part.at(("nothing",)) is MISSING
    assert set(part.members()) == {"items", "name", "n"}
    assert digest(body, Transform("name"), (), False).raw == b'"x"'
    assert digest(b" 1", PLAIN, (), False).raw == b"1"
    assert digest(b"1", PLAIN, (), True).members() is None


def test_an_error_crosses_processes() -> None:
    with pytest.raises(BadAnswer) as caught:
        digest(b"{", PLAIN, (), False)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.reason, error.detail) == (caught.value.reason, caught.value.detail)
