"""Which files a config is made of, and that every way to change one is seen."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.load import ConfigError, load
from gateway.config.sources import Sources
from tests.config.conftest import Write

SECRET = "routes: [{match: /, respond: 204, headers: {request: {set: {x-key: {file: secret}}}}}]\n"


def renamed(path: Path) -> None:
    path.with_suffix(".new").write_bytes(path.read_bytes())
    path.with_suffix(".new").rename(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("other text"),
        lambda path: path.write_text("TEXT"),
        renamed,
        lambda path: path.unlink(),
        lambda path: path.chmod(0o600),
    ],
    ids=["written", "same size", "renamed over", "removed", "readable"],
)
def test_a_file_that_changes_is_seen(tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    os.utime(path, ns=(1, 1))
    before = Sources.of([str(path)], [])
    assert before.look() == before
    change(path)
    assert before.look() != before
    assert before.look().changed(before) == [str(path)]


def test_a_link_that_leads_elsewhere_is_seen(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("text")
    os.symlink("a", tmp_path / "now")
    before = Sources.of([f"{tmp_path}/now/file"], [])
    os.symlink("b", tmp_path / "next")
    os.rename(tmp_path / "next", tmp_path / "now")
    assert before.look() != before


def test_a_new_file_that_a_pattern_matches_is_seen(tmp_path: Path) -> None:
    before = Sources.of([], [f"{tmp_path}/*.yaml"])
    (tmp_path / "a.yaml").write_text("")
    assert before.look().changed(before) == [f"{tmp_path}/*.yaml"]


def test_all_files_that_a_config_names_are_its_sources(write: Write, tmp_path: Path) -> None:
    write("s3cret", "secret")
    write("upstreams: {u: http://a}\n", "more.yaml")
    path = write("watch: true\ninclude: [more.yaml, none/*.yaml]\n" + SECRET)
    sources = load(path).settings.sources
    assert set(sources.files) == {str(path), *(str(path.parent / each) for each in ("more.yaml", "secret"))}
    assert sources.patterns == {str(path.parent / "none/*.yaml"): ()}
    assert sources.look() == sources


def test_the_files_of_a_config_that_is_wrong_are_known_too(write: Write) -> None:
    path = write("watch: true\nlisten: {address: ':1', tls: {cert: a.pem, key: b.pem}}\ninclude: gone.yaml\n" + SECRET)
    with pytest.raises(ConfigError) as caught:
        load(path)
    files = caught.value.sources.files
    assert set(files) == {str(path), *(str(path.parent / each) for each in ("gone.yaml", "secret", "a.pem", "b.pem"))}
    assert files[str(path.parent / "gone.yaml")] == ()
