"""The normal form of a path."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.route.path import PathError, normalise_path

PIECES = ["/", "//", ".", "..", "%2e", "%2E", "%2e%2E", "a", "b.c", "...", "%41", "%7e", "%20", "%c3%a9", "%0d%0a"]
PIECES += ["%25", "%252e", "%2f", "%5C", "%00", "\\", "#", "%", "%z", "%4", ";", "..;", "~", "@", "{", "\r", " ", "é"]
paths = st.lists(st.sampled_from(PIECES), max_size=12).map(lambda pieces: "/" + "".join(pieces))


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("/", "/"),
        ("/orders/17", "/orders/17"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/../../x", "/x"),
        ("/a//../b", "/a/b"),
        ("//a///b", "//a///b"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/...", "/a/..."),
        ("/%61%2Db%5f%7e", "/a-b_~"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%20b", "/a%20b"),
        ("/a%252e%252e/b", "/a%252e%252e/b"),
        ("/a;b=c,d/@:!$&'()*+=", "/a;b=c,d/@:!$&'()*+="),
        ("/%3B", "/%3B"),
    ],
)
def test_normal_form(raw: str, normal: str) -> None:
    assert normalise_path(raw) == normal


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "begin with /"),
        ("orders", "begin with /"),
        ("*", "begin with /"),
        ("/a%2fb", "encoded slash"),
        ("/a%2Fb", "encoded slash"),
        ("/a%5cb", "encoded backslash"),
        ("/a%00b", "NUL"),
        ("/a\\b", "backslash"),
        ("/a#b", "fragment"),
        ("/a?b", "question mark"),
        ("/a%", "escape"),
        ("/a%4", "escape"),
        ("/a%zz", "escape"),
        ("/a%+1", "escape"),
        ("/a b", "must be escaped"),
        ("/a\r\nb", "must be escaped"),
        ("/a\n", "must be escaped"),
        ("/a\x7f", "must be escaped"),
        ("/caf\xe9", "must be escaped"),
        ("/a/..;/b", "parameter"),
        ("/a/%2e.;x=1/b", "parameter"),
        ("/a/..%3b/b", "parameter"),
    ],
)
def test_refused(raw: str, reason: str) -> None:
    with pytest.raises(PathError, match=reason):
        normalise_path(raw)


@given(paths)
def test_normalising_twice_changes_nothing(raw: str) -> None:
    try:
        normal = normalise_path(raw)
    except PathError:
        return
    assert normalise_path(normal) == normal


@given(paths | st.text().map(lambda text: "/" + text))
def test_what_comes_out_is_safe_to_match_and_to_send(raw: str) -> None:
    try:
        normal = normalise_path(raw)
    except PathError:
        return
    assert re.fullmatch(r"/[!-~]*", normal)
    assert not set(normal) & set("\\#?")
    assert not {".", ".."} & set(normal.split("/"))
    escapes = re.findall(r"%(..)", normal)
    assert all(re.fullmatch("[0-9A-F]{2}", digits) for digits in escapes)
    assert not {"00", "2F", "5C", "2E", "41"} & set(escapes)
    assert normal.count("%") == len(escapes)
