"""How values become one body, whole or with parts missing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.aggregate.combine import make_merge
from gateway.decide.aggregate.outcome import Outcome, report
from gateway.decide.aggregate.parts import LargePart, Part, digest
from gateway.decide.aggregate.pick import Transform
from gateway.decide.aggregate.settings import AggregateSettings, SourceSettings
from gateway.decide.aggregate.templates import Scope

NAMES = ("a", "b", "c")
MISSING = b'{"b":{"status":500,"reason":"status","ms":1.0}}'
REPORT = json.loads(MISSING)


def combined(values: dict[str, Any], missing: bytes | None = None, *, large: bool = False, **more: Any) -> Any:
    settings = AggregateSettings(tuple(SourceSettings(name, "u", "/x") for name in NAMES), 1.0, **more)
    parts = {name: as_large(value) if large else as_part(value) for name, value in values.items()}
    return json.loads(b"".join(make_merge(settings).pieces(Scope({"user": "ada"}, parts), missing)))


def as_part(value: Any) -> Part:
    raw = json.dumps(value).encode()
    return Part(raw, json.loads(raw))


def as_large(value: Any) -> LargePart:
    raw = json.dumps(value).encode()
    part = digest(raw, Transform(), (("x",), ("y", "0")), True)
    part.raw = raw
    return part


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("more", "values", "missing", "expected"),
    [
        ({}, {"a": 1, "b": [2], "c": {"x": 3}}, None, {"a": 1, "b": [2], "c": {"x": 3}}),
        ({}, {"a": 1, "c": None}, MISSING, {"a": 1, "c": None, "_sources": REPORT}),
        ({}, {"c": 3}, MISSING, {"c": 3, "_sources": REPORT}),
        ({}, {}, MISSING, {"_sources": REPORT}),
        ({"merge": "list"}, {"a": 1, "b": [2], "c": 3}, None, [1, [2], 3]),
        ({"merge": "list"}, {"a": 1, "c": 3}, MISSING, [1, None, 3, {"_sources": REPORT}]),
        ({"merge": "flat"}, {"a": {"x": 1, "y": 1}, "b": {"y": 2}, "c": [3]}, None, {"x": 1, "y": 2, "c": [3]}),
        ({"merge": "flat"}, {"a": {"x": {"z": 1}}}, MISSING, {"x": {"z": 1}, "_sources": REPORT}),
        ({"shape": {"u": "{user}", "x": "{a.x}", "y": ["{b.y.0}"], "c": "{c}"}},
         {"a": {"x": {"z": 1}}, "b": {"y": [7]}, "c": 3}, None, {"u": "ada", "x": {"z": 1}, "y": [7], "c": 3}),
        ({"shape": {"x": "{a.x}", "y": "{b.y.0}"}}, {"a": {"x": 1}}, MISSING, {"x": 1, "y": None, "_sources": REPORT}),
        ({"shape": ["{a.x}", "{b}"]}, {"a": {"x": 1}}, MISSING, [1, None, {"_sources": REPORT}]),
    ],
)  # fmt: skip
def test_combined(
    more: dict[str, Any], values: dict[str, Any], missing: bytes | None, expected: Any, large: bool
) -> None:
    assert combined(values, missing, large=large, **more) == expected


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(NAMES), JSON), st.booleans())
def test_any_values_make_an_object_and_a_list(values: dict[str, Any], large: bool) -> None:
    assert combined(values, large=large) == values
    assert combined(values, large=large, merge="list") == [values.get(name) for name in NAMES]


@given(st.dictionaries(st.sampled_from(NAMES), st.dictionaries(st.text(), JSON, max_size=3)), st.booleans())
def test_any_objects_make_a_flat_one(values: dict[str, dict[str, Any]], large: bool) -> None:
    expected: dict[str, Any] = {}
    for name in NAMES:
        expected |= values.get(name, {})
    assert combined(values, large=large, merge="flat") == expected


def test_what_is_not_picked_from_goes_as_it_came() -> None:
    settings = AggregateSettings((SourceSettings("a", "u", "/x"),), 1.0)
    raw = b'{ "price": 10.10,\n "big": 12345678901234567890123 }'
    pieces = make_merge(settings).pieces(Scope({}, {"a": Part(raw, {})}), None)
    assert b"".join(pieces) == b'{"a":' + raw + b"}"


def test_the_report_names_only_what_failed() -> None:
    outcomes = {
        "a": Outcome(200, None, 0.5),
        "b": Outcome(503, "status", 0.0123),
        "c": Outcome(None, "upstream_timeout", 1),
    }
    text = report(outcomes)
    assert text is not None
    assert json.loads(text) == {
        "b": {"status": 503, "reason": "status", "ms": 12.3},
        "c": {"status": None, "reason": "upstream_timeout", "ms": 1000.0},
    }
    assert report({"a": Outcome(200, None, 0.5)}) is None


@pytest.mark.parametrize(
    ("status", "reason", "words", "late"),
    [
        (503, "status", "its status is 503", False),
        (200, "not_json", "not JSON", False),
        (None, "connect_refused", "the upstream refused the connection", False),
        (None, "upstream_timeout", "took too long", True),
        (None, "connect_timeout", "took too long", True),
        (200, "executor_timeout", "took too long", True),
    ],
)
def test_an_outcome_in_words(status: int | None, reason: str, words: str, late: bool) -> None:
    outcome = Outcome(status, reason, 0.0)
    assert words in str(outcome)
    assert outcome.is_late is late
