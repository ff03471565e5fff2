"""The offline commands as a user calls them: what they print where, and their exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import COMMANDS, main
from tests.config.conftest import Write

GOOD = "upstreams: {a: http://h:1, idle: http://i:1}\nroutes:\n  - {name: r, match: 'GET h.example/x/{id}', to: a}\n"
BAD = "routes:\n  - {match: /, respnd: 204}\n"


def gateway(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_check_of_a_good_config(write: Write, tmp_path: Path) -> None:
    done = gateway("check", write(GOOD))
    assert (done.exit_code, done.stdout) == (0, "ok: 1 route, 2 upstreams\n")
    assert done.stderr.replace(f"{tmp_path}/", "") == (
        "warning: c.yaml:1:28: upstreams.idle: no route uses this upstream\n"
        "  1 | upstreams: {a: http://h:1, idle: http://i:1}\n"
        "    |                            ^^^^\n"
    )


@pytest.mark.parametrize("command", [["check"], ["routes"], ["test"], ["explain"]])
def test_a_wrong_config_ends_with_2_and_its_errors_on_standard_error(command: list[str], write: Write) -> None:
    path = write(BAD)
    done = gateway(*command, path, *(["/x"] if command == ["explain"] else []))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"{path}:2:16: routes[0].respnd: unknown key (did you mean respond?)\n"
        "  2 |   - {match: /, respnd: 204}\n"
        "    |                ^^^^^^\n"
        "1 problem\n"
    )


def test_routes_shows_the_table_most_specific_first(write: Write) -> None:
    path = write(
        GOOD + "  - {name: all, match: /*, to: {a: 50%, idle: 50%}}\n  - {name: old, match: PUT /o, redirect: /n}\n"
        "  - {name: hot, match: {path: /o, headers: {a: b}, query: {c: '*'}}, respond: 204}\n"
    )
    done = gateway("routes", path)
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["method", "host", "path", "conditions", "to", "route", "source"]
    assert rows[1:] == [
        ["GET", "h.example", "/x/{id}", "a", "r", f"{path}:3"],
        ["any", "any", "/o", "a:", "b", "?c=*", "respond", "204", "hot", f"{path}:6"],
        ["PUT", "any", "/o", "redirect", "308", "/n", "old", f"{path}:5"],
        ["any", "any", "/*", "a", "50%,", "idle", "50%", "all", f"{path}:4"],
    ]


def test_explain_in_lines(write: Write, tmp_path: Path) -> None:
    done = gateway("explain", write(GOOD), "GET http://h.example/x/7")
    assert done.exit_code == 0
    assert done.stdout.replace(f"{tmp_path}/", "").splitlines() == [
        "route       r (c.yaml:3)",
        "params      id=7",
        "upstream    a",
        "target      h:1 (least_loaded, with nothing in flight)",
        "path        /x/7",
        "host        pass (the client's)",
        "policy      body_limit: 10MiB",
        "policy      timeout: 30s",
    ]


def test_explain_of_what_nothing_takes(write: Write, tmp_path: Path) -> None:
    done = gateway("explain", write(GOOD), "PUT /x/7", "-H", "Host: h.example")
    assert done.exit_code == 0
    assert done.stdout.replace(f"{tmp_path}/", "").splitlines() == [
        "route       none: 405 method_not_allowed, Allow: GET, HEAD",
        "near misses",
        "  r (c.yaml:3): method: takes GET",
    ]


def test_explain_of_a_redirect(write: Write) -> None:
    path = write("routes: [{name: old, match: /old/*, redirect: /new/}]")
    lines = gateway("explain", path, "/old/x").stdout.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["route", "old", f"({path}:1)"],
        ["location", "/new/x"],
        ["status", "308"],
    ]


def test_explain_as_json(write: Write) -> None:
    done = gateway("explain", write(GOOD), "/x/7", "-H", "host: h.example", "--json")
    told = json.loads(done.stdout)
    assert (told["route"], told["params"]) == ("r", {"id": "7"})


@pytest.mark.parametrize("words", [["ftp://x/"], ["/x", "-H", "novalue"], []])
def test_explain_says_how_a_request_is_written(words: list[str], write: Write) -> None:
    done = gateway("explain", write(GOOD), *words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Error: " in done.stderr


PYTHON = "routes:\n  - {name: r, match: /, handler: 'code.py:answer'}\ntests: [{request: GET /, expect: {route: r}}]\n"


@pytest.mark.parametrize(("command", "request_"), [("check", []), ("test", []), ("explain", ["/"])])
def test_python_is_imported_unless_that_is_refused(
    command: str, request_: list[str], write: Write, tmp_path: Path
) -> None:
    path = write(PYTHON)
    write("import sys\nprint('at import')\nsys.exit()\n", "code.py")
    done = gateway(command, path, *request_)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.replace(f"{tmp_path}/", "").splitlines()[0] == (
        "c.yaml:2:34: routes[0].handler: code.py:answer: importing it failed: SystemExit (code.py:3) "
        '(a module that is imported must not end; put what ends it under `if __name__ == "__main__":`)'
    )
    assert gateway(command, path, *request_, "--no-import").exit_code == 0
    write("print('at import')\nasync def answer(request): ...\n", "code.py")
    done = gateway(command, path, *request_)
    assert (done.exit_code, done.stderr, "at import" in done.stdout) == (0, "", False)


def test_routes_imports_nothing(write: Write) -> None:
    done = gateway("routes", write(PYTHON))
    assert done.exit_code == 0
    assert "handler code.py:answer" in done.stdout


def test_explain_says_what_python_runs_where(write: Write, tmp_path: Path) -> None:
    path = write(PYTHON)
    write("def answer(request): ...\n", "code.py")
    assert gateway("explain", path, "/").stdout.replace(f"{tmp_path}/", "").splitlines()[1] == (
        "handler     code.py:answer on executor default (16 threads): def at code.py:1"
    )


def test_test_counts_what_failed(write: Write, tmp_path: Path) -> None:
    tests = "tests:\n  - {request: h.example/x/1, expect: {route: r}}\n"
    assert gateway("test", write(GOOD + tests)).stdout == "ok: 1 test\n"
    done = gateway("test", write(GOOD + tests + "  - {request: GET /x/1, expect: {route: r}}\n"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.replace(f"{tmp_path}/", "").splitlines()[-2:] == [
        "c.yaml:6: GET /x/1: route: expected r, but it is none",
        "1 of 2 tests failed",
    ]


def test_schema_is_json() -> None:
    done = gateway("schema")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["title"] == "Floodgate"


def test_every_command_can_be_imported_and_says_what_it_does() -> None:
    done = gateway("--help")
    assert done.exit_code == 0
    assert [name for name in COMMANDS if f"\n  {name} " not in done.stdout] == []
    for name in COMMANDS:
        assert gateway(name, "--help").exit_code == 0


def test_an_unknown_command_is_guessed() -> None:
    done = gateway("chek")
    assert done.exit_code == 2
    assert "there is no command 'chek'; did you mean check?" in done.stderr


def test_running_loads_no_library_of_the_config() -> None:
    """The supervisor lives long; pydantic and ruamel.yaml would stay in its memory."""
    program = (
        "import sys; from gateway.cli import main; main.get_command(None, 'run')\n"
        "print(*({'pydantic', 'ruamel', 'rich', 'aiohttp'} & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def test_a_broken_config_ends_in_no_traceback(write: Write) -> None:
    words = [sys.executable, "-m", "gateway", "check", str(write(b"\xff{"))]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert "not UTF-8" in done.stderr
