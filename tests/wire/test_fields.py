"""The grammar of a field section, its limits, and what is worked out from it."""

import pytest

from gateway.core.errors import GatewayError
from gateway.wire.fields import Fields, tokens
from gateway.wire.limits import HeadLimits
from tests.support.corpus import BAD_NAMES, CONTROLS, LENGTHS

LIMITS = HeadLimits()


def _fields(section: str, limits: HeadLimits = LIMITS) -> Fields:
    return Fields(section, limits)


def _reason(section: str, limits: HeadLimits = LIMITS) -> str:
    with pytest.raises(GatewayError) as caught:
        _fields(section, limits)
    return caught.value.reason.name


def test_order_case_and_duplicates_are_kept() -> None:
    fields = _fields("B: 2\r\na: 1\r\nB:3\r\nSet-Cookie: \t x=y \t\r\n\r\n")
    assert fields.lines == [("B", "2"), ("a", "1"), ("B", "3"), ("Set-Cookie", "x=y")]
    assert fields.get("b") == "2, 3"
    assert fields.get("c") is None


def test_no_field_at_all() -> None:
    assert _fields("\r\n").lines == []


@pytest.mark.parametrize("name", [name.decode("latin-1") for name in BAD_NAMES], ids=ascii)
def test_a_name_is_a_token(name: str) -> None:
    assert _reason(f"Ok: 1\r\n{name}: y\r\n\r\n") == "bad_request"


@pytest.mark.parametrize("control", [raw.decode("latin-1") for raw in [*CONTROLS, b"\r", b"\n"]], ids=ascii)
def test_a_control_byte_in_a_value_is_refused(control: str) -> None:
    assert _reason(f"X: a{control}b\r\n\r\n") == "bad_request"
    assert _reason(f"X:{control}\r\n\r\n") == "bad_request"


def test_every_other_byte_may_stand_in_a_value() -> None:
    value = "".join(map(chr, [*range(0x21, 0x7F), *range(0x80, 0x100)])) + "\t x"
    assert _fields(f"X: {value}\r\n\r\n").get("x") == value


@pytest.mark.parametrize(
    ("section", "says"),
    [
        (" X: y\r\n\r\n", "folded"),
        ("A: b\r\n\tc\r\n\r\n", "folded"),
        ("nonsense\r\n\r\n", "no colon"),
        (": y\r\n\r\n", "name is empty"),
        ("X : y\r\n\r\n", "white space before the colon"),
        ("X: \x00\r\n\r\n", "control character"),
    ],
)
def test_an_error_says_what_is_wrong(section: str, says: str) -> None:
    with pytest.raises(GatewayError, match=says):
        _fields(section)


def test_limits_count_raw_bytes() -> None:
    limits = HeadLimits(line_bytes=20, headers_bytes=60, header_count=3)
    line = "X: " + "y" * 17 + "\r\n"
    assert _fields(line * 2 + "\r\n", limits).get("x") == f"{'y' * 17}, {'y' * 17}"
    assert _reason("X: " + "y" * 18 + "\r\n\r\n", limits) == "headers_too_large"
    assert _reason(line * 3 + "\r\n", limits) == "headers_too_large"
    assert _reason("X:\r\n" * 4 + "\r\n", limits) == "headers_too_large"
    assert len(_fields("X:\r\n" * 3 + "\r\n", limits).lines) == 3


def test_names_with_underscores_are_dropped_and_counted() -> None:
    section = "X_Y: 1\r\nContent_Length: 7\r\nX-Y: 2\r\n\r\n"
    assert _fields(section).lines == [("X-Y", "2")]
    assert _reason(section, HeadLimits(header_count=2)) == "headers_too_large"
    assert [line[0] for line in _fields(section, HeadLimits(underscores="allow")).lines] == [
        "X_Y",
        "Content_Length",
        "X-Y",
    ]


@pytest.mark.parametrize("value", [raw.decode("latin-1") for raw in LENGTHS], ids=ascii)
def test_a_length_is_one_decimal_number(value: str) -> None:
    with pytest.raises(GatewayError, match="bad_request"):
        _fields(f"Content-Length: {value}\r\n\r\n").content_length()


@pytest.mark.parametrize(("value", "length"), [("0", 0), ("005", 5), (" 5\t", 5), (str(2**63 - 1), 2**63 - 1)])
def test_lengths(value: str, length: int) -> None:
    assert _fields(f"Content-Length:{value}\r\n\r\n").content_length() == length


def test_two_lengths_are_never_one() -> None:
    for second in ("5", "6", ""):
        with pytest.raises(GatewayError, match="bad_request"):
            _fields(f"Content-Length: 5\r\ncontent-length: {second}\r\n\r\n").content_length()


def test_no_length() -> None:
    assert _fields("X: 5\r\n\r\n").content_length() is None


def test_tokens_of_connection_over_several_lines() -> None:
    fields = _fields("Connection: Close, X-A\r\nconnection: ,, X-B ,\r\n\r\n")
    assert fields.connection == {"close", "x-a", "x-b"}
    assert _fields("\r\n").connection == frozenset()


def test_members_of_a_list() -> None:
    assert tokens(" A ,\tb,, c d ,") == ["a", "b", "c d"]
