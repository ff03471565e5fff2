"""Up and down by checks in a row."""

import pytest

from gateway.decide.health.probes import Probes


@pytest.mark.parametrize(
    ("results", "states"),
    [
        ("", ""),
        ("+", "U"),
        ("-", "D"),  # the first result decides alone
        ("+-", "UU"),
        ("+--", "UUD"),
        ("+-+-+-", "UUUUUU"),  # only what comes in a row counts
        ("-+", "DD"),
        ("-++", "DDD"),
        ("-+++", "DDDU"),
        ("-++-+++", "DDDDDDU"),
        ("-+++-", "DDDUU"),
        ("-+++--", "DDDUUD"),
    ],
)
def test_it_rises_after_three_and_falls_after_two(results: str, states: str) -> None:
    probes = Probes(rise=3, fall=2)
    seen = ""
    for each in results:
        before = probes.up
        assert probes.note(each == "+") is (probes.up != before)
        seen += "U" if probes.up else "D"
    assert seen == states


def test_before_the_first_result_it_is_up_and_unknown() -> None:
    probes = Probes(rise=2, fall=2)
    assert probes.up
    assert not probes.known
