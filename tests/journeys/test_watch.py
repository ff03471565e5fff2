"""`watch: true`: what changes on disk is served, however the files were changed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.journeys.test_reload import get, reload, saying, write
from tests.journeys.test_reload_tls import config, issue, shown
from tests.support.gateway import Gateway
from tests.support.load import Load
from tests.support.wait import until

Serve = Callable[..., Gateway]


def replaced(path: Path, text: str) -> None:
    """As editors do: another file takes the name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def serves(gateway: Gateway, path: str, body: bytes) -> None:
    until(lambda: get(gateway.port, path) == (200, body), 15, f"{path} to be {body!r}")


def test_files_of_a_config_that_change_are_served(serve: Serve, tmp_path: Path) -> None:
    more = tmp_path / "conf.d"
    more.mkdir()
    (more / "a.yaml").write_text("routes: [{name: a, match: /a, respond: {status: 200, body: old}}]\n")
    gateway = serve("workers: 2\nwatch: true\ninclude: ../conf.d/*.yaml\n" + saying("old"))
    with Load(gateway.port, path="/r", rate=100) as load:
        replaced(gateway.config, gateway.config.read_text().replace("old", "new"))
        serves(gateway, "/r", b"new")
        (more / "a.yaml").write_text("routes: [{name: a, match: /a, respond: {status: 200, body: new}}]\n")
        serves(gateway, "/a", b"new")
        replaced(more / "b.yaml", "routes: [{name: b, match: /b, respond: {status: 200, body: new}}]\n")
        serves(gateway, "/b", b"new")
    assert load.outcomes.failed == 0, load.outcomes
    assert gateway.metric("gateway_config_reloads_total", result="success") == 3
    assert gateway.metric("gateway_config_reloads_total", result="failure") == 0
    assert f"changed: {gateway.config}; the config is read again" in gateway.errors


def test_the_volume_of_a_config_map_is_swapped(tmp_path: Path) -> None:
    for name in ("..1", "..2"):
        (tmp_path / name).mkdir()
    os.symlink("..1", tmp_path / "..data")
    os.symlink("..data/gateway.yaml", tmp_path / "gateway.yaml")
    with Gateway("watch: true\n" + saying("old"), tmp_path) as gateway:  # writes through the links
        text = (tmp_path / "..1/gateway.yaml").read_text()
        (tmp_path / "..2/gateway.yaml").write_text(text.replace("old", "new"))
        os.symlink("..2", tmp_path / "..tmp")
        os.rename(tmp_path / "..tmp", tmp_path / "..data")
        serves(gateway, "/r", b"new")


def test_a_broken_file_says_its_errors_once_and_the_next_good_one_is_taken(serve: Serve, tmp_path: Path) -> None:
    gateway = serve("watch: true\n" + saying("old"))
    write(gateway, "watch: true\ninclude: ../more.yaml\n" + saying("new"))
    until(lambda: "more.yaml: no such file" in gateway.errors)
    (tmp_path / "more.yaml").write_text("routes: [{name: more, match: /more, to: nobody}]\n")
    until(lambda: "nobody" in gateway.errors)
    assert get(gateway.port, "/r") == (200, b"old")
    assert gateway.metric("gateway_config_last_reload_successful") == 0
    (tmp_path / "more.yaml").write_text("routes: [{name: more, match: /more, respond: {status: 200, body: ok}}]\n")
    serves(gateway, "/more", b"ok")
    assert gateway.metric("gateway_config_reloads_total", result="failure") == 2
    said = [line for line in gateway.errors.splitlines() if "the config is not reloaded" in line]
    assert [line.rpartition(": ")[2] for line in said] == [
        "no such file or directory",
        "there is no upstream 'nobody' (define it under `upstreams:`)",
    ]


@pytest.mark.parametrize("given", ["on", "off"])
def test_watching_is_switched_by_a_reload(serve: Serve, given: str) -> None:
    on = given == "on"
    gateway = serve(f"watch: {str(on).lower()}\n" + saying("old"))
    write(gateway, f"watch: {str(not on).lower()}\n" + saying("two"))
    assert reload(gateway)[1]["changed"]["others"] == ["~ watch"]
    serves(gateway, "/r", b"two")
    write(gateway, f"watch: {str(not on).lower()}\n" + saying("three"))
    if on:  # nobody looks now
        assert reload(gateway)[0] == 200
        assert gateway.errors.count("the config is read again") <= 1
    serves(gateway, "/r", b"three")


def test_a_renewed_certificate_is_taken(serve: Serve, tmp_path: Path) -> None:
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    stem = tmp_path / "server"
    issue(ca, stem, "old.example.com")
    gateway = serve("watch: true\n" + config(stem))
    assert shown(ca, gateway.port) == "old.example.com"
    issue(ca, stem, "new.example.com")
    until(lambda: shown(ca, gateway.port) == "new.example.com", 15)
