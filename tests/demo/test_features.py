"""A feature renders its curl line and judges the answers."""

import shlex

import pytest

from gateway.demo.features import FEATURES, Answer, Feature

GOOD = Answer(200, {"x-served-by": "orders-1"}, '{"a":1}')


def test_curl_line_is_one_shell_command() -> None:
    feature = Feature("", "/orders", 201, method="POST", send=(("A", "b c"),), data='{"it\'s":1}', headers=(("x", ""),))
    assert shlex.split(feature.curl("http://h:1")) == (
        ["curl", "-s", "-i", "-H", "A: b c", "-d", '{"it\'s":1}', "http://h:1/orders"]
    )


def test_stream_is_not_buffered_and_ends() -> None:
    assert Feature("", "/t", seconds=2).curl("http://h:1") == "curl -sN --max-time 2 http://h:1/t"


def test_method_without_a_body_is_named() -> None:
    assert Feature("", "/t", method="DELETE").curl("http://h:1") == "curl -s -X DELETE http://h:1/t"


def test_urls_are_those_that_curl_would_send() -> None:
    assert list(Feature("", "/q?n=[1-3]", times=3).urls("http://h")) == [f"http://h/q?n={n}" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("feature", "wrong"),
    [
        (Feature("", "/"), ""),
        (Feature("", "/", body=('"a":[0-9]',), headers=(("x-served-by", "^orders"),)), ""),
        (Feature("", "/", 201), "status 200 instead of 201"),
        (Feature("", "/", body=("nowhere",)), "the body has no 'nowhere'"),
        (Feature("", "/", headers=(("x-served-by", "quotes"),)), "x-served-by: 'orders-1' has no 'quotes'"),
        (Feature("", "/", headers=(("via", "1.1"),)), "via: '(none)' has no '1.1'"),
    ],
)
def test_judges_what_came(feature: Feature, wrong: str) -> None:
    assert feature.differs([GOOD]).startswith(wrong)
    assert bool(feature.differs([GOOD])) == bool(wrong)


def test_one_bad_answer_of_several_is_seen() -> None:
    assert Feature("", "/").differs([GOOD, Answer(502, {}, ""), GOOD]).startswith("status 502")


def test_titles_are_distinct() -> None:
    assert len({feature.title for feature in FEATURES}) == len(FEATURES)
