"""Several files as one config, with errors that name the right one."""

import os
from pathlib import Path

import pytest

from gateway.config.load import ConfigError, load
from tests.config.conftest import Faults, Write

ROUTE = "routes: [{name: %s, match: /%s, respond: 204}]\n"


def names(path: Path) -> list[str]:
    return [route.name for route in load(path).settings.routes]


def test_routes_upstreams_and_tests_of_all_files_are_one_config(write: Write) -> None:
    write("upstreams: {a: http://a}\nroutes: [{name: a, match: /a, to: b}]", "conf.d/a.yaml")
    write("upstreams: {b: http://b}\nroutes: [{name: b, match: /b, to: a}]\nlog: debug", "conf.d/b.yaml")
    write("tests: [{request: GET /a, expect: {route: a}}]", "tests.yaml")
    path = write("include: [conf.d/*.yaml, tests.yaml]\n" + ROUTE % ("main", "main"))
    settings = load(path).settings
    assert [route.name for route in settings.routes] == ["main", "a", "b"]
    assert [upstream.name for upstream in settings.upstreams] == ["a", "b"]
    assert (settings.log.level, len(settings.tests)) == ("debug", 1)
    assert settings.routes[2].source == f"{path.parent}/conf.d/b.yaml:2"


def test_an_included_file_may_include_relative_to_itself(write: Write) -> None:
    write("include: inner/c.yaml", "a/b.yaml")
    write(ROUTE % ("c", "c"), "a/inner/c.yaml")
    assert names(write("include: a/b.yaml")) == ["c"]


def test_a_pattern_without_files_is_a_warning(write: Write, tmp_path: Path) -> None:
    (warning,) = load(write("include: conf.d/*.yaml\n" + ROUTE % ("r", ""))).warnings
    assert warning.headline == f"{tmp_path}/c.yaml:1:10: include: no file matches {tmp_path}/conf.d/*.yaml"


def test_an_included_file_may_be_empty(write: Write) -> None:
    write("# nothing yet\n", "more.yaml")
    assert names(write("include: more.yaml\n" + ROUTE % ("r", ""))) == ["r"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rutes: []", "more.yaml:1:1: rutes: unknown key (did you mean routes?)"),
        (
            "limits:\n  line: 5\n",
            "more.yaml:2:9: limits.line: a size needs a unit (B, KiB, MiB or GiB) (write `line: 5B`)",
        ),
        ("log: debug", "more.yaml:1:1: log: is already set at c.yaml:2:1 (keep one of the two)"),
        (
            "upstreams: {a: http://b}",
            "more.yaml:1:13: upstreams.a: is already defined at c.yaml:3:13 (rename one of the two)",
        ),
        ("routes: [{name: q, match: /q, to: b}]", "more.yaml:1:35: routes[1].to: there is no upstream 'b'"),
        (
            "routes: [{name: q, match: /r, to: a}]",
            "more.yaml:1:27: routes[1].match: ties with the route 'r' at c.yaml:4:10: both take /r "
            "(give one of them another path or one condition more)",
        ),
        ("a: [", "more.yaml:1:5: the YAML cannot be read: expected a value, but found the end of the file"),
        ("- a", "more.yaml:1:1: a config is a mapping with routes:, ...; this is a list"),
        ("a: ${X}", "more.yaml:1:4: a: the environment variable X is not set (set it, or write ${X:-default})"),
        (b"a: \xff", "more.yaml:1:4: the file is not UTF-8: byte 0xff"),
        (
            "include: c.yaml",
            "more.yaml:1:10: include: c.yaml is read already (as the main file) (include each file once)",
        ),
        (
            "include: more.yaml",
            "more.yaml:1:10: include: more.yaml is read already (at c.yaml:1:10) (include each file once)",
        ),
    ],
)
def test_faults_name_the_file_they_stand_in(text: str | bytes, fault: str, faults: Faults, write: Write) -> None:
    write(text, "more.yaml")
    main = "include: more.yaml\nlog: info\nupstreams: {a: http://a}\n" + ROUTE.replace("respond: 204", "to: a") % (
        "r",
        "r",
    )
    found = [line for line in faults(main) if "a: unknown key" not in line]
    assert found == [fault]


def test_a_chain_of_includes_ends(write: Write) -> None:
    for number in range(50):
        write(f"include: f{number + 1}.yaml", f"f{number}.yaml")
    with pytest.raises(ConfigError, match="deeper than 10"):
        load(write("include: f0.yaml"))


def test_a_link_to_a_file_that_was_read_is_seen(write: Write, tmp_path: Path) -> None:
    path = write("include: link.yaml\n" + ROUTE % ("r", ""))
    os.symlink(path, tmp_path / "link.yaml")
    with pytest.raises(ConfigError, match="read already"):
        load(path)


def test_an_included_directory_or_secret_file_is_said(write: Write, faults: Faults, tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    assert faults("include: conf.d") == [
        "c.yaml:1:10: include: conf.d is a directory; name the file, such as conf.d/gateway.yaml"
    ]
