"""What an application sees of the path; the text of PEP 3333; its error stream."""

import logging

import pytest

from gateway.core.errors import GatewayError
from gateway.decide.route.table import Match
from gateway.pipeline.apps.environ import ErrorStream, decoded
from gateway.pipeline.apps.mount import Mount, Place

NO_MATCH: Match[None] = Match(None, {}, "", False)


@pytest.mark.parametrize(
    ("strip", "path", "place"),
    [
        ("", "/", Place("", "/")),
        ("", "/a/b", Place("", "/a/b")),
        ("/a", "/a/b", Place("/a", "/b")),
        ("/a", "/a", Place("/a", "/")),
        ("/a", "/a/", Place("/a", "/")),
        ("/a", "/a//b", Place("/a", "//b")),
        ("/a", "/ab", Place("", "/ab")),
        ("/a", "/b/a", Place("", "/b/a")),
        ("/a", "/a/a", Place("/a", "/a")),
        ("/a/b", "/a/b/c/", Place("/a/b", "/c/")),
        ("/{tenant}", "/x%20y/c", Place("/x%20y", "/c")),
        ("/{tenant}/app", "/x/app", Place("/x/app", "/")),
    ],
)
def test_places(strip: str, path: str, place: Place) -> None:
    assert Mount(strip, None).place(path, NO_MATCH) == place


@pytest.mark.parametrize("path", ["", "a", "http://x/a", "/ü"])
def test_paths_that_only_a_plugin_could_set(path: str) -> None:
    with pytest.raises(GatewayError, match="plugin_error"):
        Mount("", None).place(path, NO_MATCH)


@pytest.mark.parametrize(
    ("path", "text"),
    [("/a", "/a"), ("/%C3%BC", "/Ã¼"), ("/a%20b%25", "/a b%"), ("/%FF", "/\xff"), ("/a+b", "/a+b")],
)
def test_text_of_paths_is_bytes_as_characters(path: str, text: str) -> None:
    assert decoded(path) == text
    assert all(ord(character) < 256 for character in text)


def test_the_error_stream_logs_lines(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        stream = ErrorStream("site:app")
        print("one\ntwo", file=stream)
        stream.writelines(["th", "ree"])
        assert caplog.messages == ["site:app: one", "site:app: two"]
        stream.flush()
        stream.flush()
        print(file=stream)
    assert caplog.messages == ["site:app: one", "site:app: two", "site:app: three"]
