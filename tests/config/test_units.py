"""Durations, sizes and shares as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.units import (
    UnitError,
    format_duration,
    format_share,
    format_size,
    parse_duration,
    parse_share,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("2s", 2.0),
        ("1.5s", 1.5),
        ("1m", 60.0),
        ("1h", 3600.0),
        ("1d", 86400.0),
        ("0s", 0.0),
        (" 5 s ", 5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("0B", 0), ("512B", 512), ("64KiB", 65536), ("1.5MiB", 1572864), ("2GiB", 2 * 1024**3)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(("text", "share"), [("20%", 0.2), ("0%", 0.0), ("100%", 1.0), ("12.5%", 0.125)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        (5, "5s"),
        (0, "0s"),
        (1.5, "1.5s"),
        ("5", "5s"),
        ("5sec", "5s"),
        ("5S", "5s"),
        ("10 minutes", "10m"),
        ("5x", ""),
        ("soon", ""),
        ("", ""),
        ("-1s", ""),
        ("999d", ""),
        (True, ""),
        (None, ""),
        ([], ""),
        ("9" * 5000 + "s", ""),
        (float("inf"), ""),
    ],
)
def test_what_is_no_duration_shows_what_to_write(value: object, fix: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_duration(value)
    assert caught.value.fix == fix
    assert not fix or parse_duration(fix) >= 0


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        (65536, "64KiB"),
        (1000, "1000B"),
        ("64", "64B"),
        ("64K", "64KiB"),
        ("64kb", "64KiB"),
        ("1.5B", "1B"),
        ("9x", ""),
        (-1, ""),
    ],
)
def test_what_is_no_size_shows_what_to_write(value: object, fix: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_size(value)
    assert caught.value.fix == fix
    assert not fix or parse_size(fix) > 0


@pytest.mark.parametrize(("value", "fix"), [(20, "20%"), (0.2, "20%"), ("20", "20%"), ("101%", ""), ("x", "")])
def test_what_is_no_share_shows_what_to_write(value: object, fix: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_share(value)
    assert caught.value.fix == fix


@given(st.integers(0, 10**9))
def test_a_size_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(0, 10**9))
def test_a_duration_reads_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-5)


@given(st.integers(0, 100))
def test_a_share_reads_back(percent: int) -> None:
    assert parse_share(format_share(percent / 100)) == percent / 100
