"""YAML 1.2: the values, their places, and the parser against ruamel.yaml's own."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gateway.config.lines import Map, Source, locate, path_text
from gateway.config.parse import parse
from gateway.config.scalars import Variables
from gateway.config.yaml_events import events


def value_of(text: str, **environment: str) -> Any:
    return parse(Source("c.yaml", text), Variables(environment), [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("+12", 12),
        ("-", [None]),
        ("1.2.3", "1.2.3"),
        ("2024-01-01", "2024-01-01"),
        ('"5"', "5"),
        ("'true'", "true"),
        ("!!str 5", "5"),
        ("9" * 40, "9" * 40),
        ('"\\u00e4"', "ä"),
        ("|\n  a\n  b\n", "a\nb\n"),
        (">\n  a\n  b\n", "a b\n"),
        ("a\n  b", "a b"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert value_of(f"k: {text}" if text != "-" else "k:\n-") == {"k": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${PORT}", 8080),
        ('"${PORT}"', "8080"),
        ("h:${PORT}", "h:8080"),
        ("${NONE:-7}", 7),
        ("${NONE:-}", None),
        ('"${NONE:-}"', ""),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY}y", "y"),
        ("$${PORT}", "${PORT}"),
        ("$PORT", "$PORT"),
        ("${TRICK}", "{a: b}"),
    ],
)
def test_variables_expand_in_scalars_only(text: str, value: object) -> None:
    assert value_of(f"k: {text}", PORT="8080", EMPTY="", TRICK="{a: b}") == {"k": value}


def test_a_key_expands() -> None:
    assert value_of("${NAME}: 1", NAME="orders") == {"orders": 1}


def test_every_value_knows_its_place() -> None:
    tree = value_of("a:\n  - b: 1\n    c: {d: [x, yy]}\n")
    assert isinstance(tree, Map)
    mark = locate(tree, ("a", 0, "c", "d", 1)).mark
    assert mark is not None
    assert (str(mark.key), str(mark.value)) == ("c.yaml:3:16", "c.yaml:3:16")
    inner = locate(tree, ("a", 0, "c")).mark
    assert inner is not None
    assert (str(inner.key), str(inner.value)) == ("c.yaml:3:5", "c.yaml:3:8")


def test_a_path_leads_as_far_as_the_file_goes() -> None:
    found = locate(value_of("a:\n  b: short\n"), ("a", "b", "long", 3))
    assert (found.path, found.value, found.whole) == (("a", "b"), "short", False)


@pytest.mark.parametrize(
    ("path", "line"), [(("one", 0, "x"), 1), (("many", "items", 1), 2), (("many", "items", 1, 0), 2)]
)
def test_a_path_leads_through_short_forms(path: tuple[str | int, ...], line: int) -> None:
    found = locate(value_of("one: {x: 1}\nmany: [a, b]\n"), path)
    assert found.mark is not None
    assert found.mark.value.line == line


def test_a_key_path_is_written_as_people_do() -> None:
    assert path_text(("a", 0, "b", 1, 2, "c")) == "a[0].b[1][2].c"


def test_an_alias_repeats_the_value() -> None:
    assert value_of("a: &x [1, {b: 2}]\nc: *x\n") == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}


def plain_events(text: str) -> list[tuple[object, ...]]:
    """From ruamel.yaml as it is."""
    _, parser = YAML(typ="safe", pure=True).get_constructor_parser(text)
    found = []
    while (event := parser.get_event()) is not None:
        found.append(facts(event))
    return found


def facts(event: Any) -> tuple[object, ...]:
    start, end = event.start_mark, event.end_mark
    names = ("anchor", "tag", "value", "style", "implicit", "flow_style", "explicit")
    return (
        type(event).__name__,
        *(getattr(event, name, None) for name in names),
        *(number for mark in (start, end) for number in (mark.line, mark.column, mark.index)),
    )


def outcome(read: Any, text: str) -> object:
    """The events, or where they end in an error."""
    try:
        return list(read(text))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return str(getattr(error, "problem", error)), mark and (mark.line, mark.column)


PIECES = [
    *("a", "bc d", "key:", "1", "é", "http://h:80/p", "${X}", "/u/{id}", "---", "..."),
    *("- ", "-", ": ", ":", "?", "? ", "[", "]", "{", "}", ",", ", ", "#", " # c", "'", '"'),
    *("&x ", "*x", "|", ">", "!t ", "%", "\\", "@"),
]
INDENTS = ["", " ", "  ", "    ", "\t"]
LINES = st.lists(
    st.tuples(st.sampled_from(INDENTS), st.lists(st.sampled_from(PIECES), max_size=6).map("".join)).map("".join),
    max_size=7,
)
YAML_LINES = st.tuples(st.sampled_from(["\n", "\r\n", "\n\n"]), LINES).map(lambda drawn: drawn[0].join(drawn[1]))


@given(YAML_LINES)
def test_the_short_cuts_change_nothing(text: str) -> None:
    ours = outcome(lambda each: [facts(event) for event in events(each)], text)
    try:
        theirs = outcome(plain_events, text)
    except (IndexError, AttributeError, AssertionError, TypeError, ValueError):
        return  # ruamel.yaml itself fails; ours ends in an error or goes on
    assert ours == theirs


@pytest.mark.parametrize("name", ["reference.yaml", "demo.yaml", "examples/respond-redirect.yaml"])
def test_the_short_cuts_change_nothing_of_real_files(name: str, config_directory: Any) -> None:
    text = (config_directory / name).read_text()
    assert [facts(event) for event in events(text)] == plain_events(text)
