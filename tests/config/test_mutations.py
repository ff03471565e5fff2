"""Every change that breaks a good config points at its line, and none ends in a traceback."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.load import ConfigError, load
from tests.config.mutations import BREAKS, GOOD, Broken, Writer


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "c.yaml"


def test_the_config_that_is_changed_is_good(path: Path) -> None:
    path.write_text(Writer(GOOD).text)
    assert load(path, environment={}, import_s=None).warnings == ()


def outcome(path: Path, text: bytes) -> ConfigError | None:
    """What is wrong with the text, if anything; any other exception fails the test."""
    path.write_bytes(text)
    try:
        load(path, environment={}, import_s=None)
    except ConfigError as error:
        return error
    return None


def lines_named(error: ConfigError) -> set[int]:
    """The lines that the problems stand at or speak of."""
    spoken = re.findall(r"c\.yaml:(\d+):|line (\d+)", str(error))
    return {int(number) for pair in spoken for number in pair if number}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BREAKS)
def test_a_change_points_at_its_line(path: Path, broken: Broken) -> None:
    error = outcome(path, broken.text.encode("utf-8", "surrogatepass"))
    if error is None:
        return
    count = len(re.split(r"\r\n?|\n", broken.text))
    assert all(problem.file == str(path) and 1 <= problem.line <= count for problem in error.problems)
    # What is not closed may come to light one line below.
    near = broken.lines | {line + 1 for line in broken.lines}
    assert near & lines_named(error), f"{broken.what}\n{error}"


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_text_ends_in_a_traceback(path: Path, data: st.DataObject) -> None:
    """Cuts, repetitions and stray characters anywhere in the text."""
    text = Writer(GOOD).text
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    stray = data.draw(
        st.one_of(st.binary(max_size=6), st.sampled_from([b"{", b"[", b"\t", b"- ", b": ", b"*a", b"&a ", b'"']))
    )
    error = outcome(path, text[:start].encode() + stray + text[end:].encode())
    assert error is None or str(error).startswith(f"{path}:")
