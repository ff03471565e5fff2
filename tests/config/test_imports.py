"""The users' Python is imported by a process of its own, whatever it does there."""

import os
import time
from pathlib import Path

import pytest

from gateway.config.imports import Code, Wanted, import_all
from gateway.config.load import load
from tests.config.conftest import Faults, Write

CODE = """
import asyncio

def plain(request): ...

async def quick(request): ...

class Both:
    async def on_request(self, request): ...
    def on_response(self, request, response): ...

def wsgi(environ, start_response): ...

async def asgi(scope, receive, send): ...

def make(): ...

ANSWER = 42
"""

FAULTS = [
    ("handler", "nope.py:f", "nope.py:f: there is no file nope.py"),
    (
        "handler",
        "nope.code:f",
        "nope.code:f: there is no module nope; it is looked for in the directory of the config, "
        "and where Python finds modules (PYTHONPATH, installed packages)",
    ),
    ("handler", "code.py:plein", "code.py:plein: code.py has no plein (did you mean plain?)"),
    ("handler", "code.py:ANSWER", "code.py:ANSWER: ANSWER is not callable, it is of type int"),
    (
        "handler",
        "code.py:wsgi",
        "code.py:wsgi: wsgi(environ, start_response) cannot be called with the request, as it will be",
    ),
    (
        "wsgi",
        "code.py:asgi",
        "code.py:asgi: its call is async, so this is an ASGI application; write `asgi:`",
    ),
    (
        "asgi",
        "code.py:wsgi",
        "code.py:wsgi: it is called with (environ, start_response): a WSGI application; write `wsgi:`",
    ),
    (
        "wsgi",
        "code.py:make",
        "code.py:make: make cannot be called with (environ, start_response), so it is no such application; "
        "if it makes the application, write app = make() in the module, and name app",
    ),
    ("plugin", "code.py:ANSWER", "code.py:ANSWER: ANSWER is neither callable nor has it on_request or on_response"),
]

BAD_MODULES = [
    ("1 / 0", "importing it failed: ZeroDivisionError: division by zero (bad.py:1)"),
    ("x = (\n", "importing it failed: SyntaxError: '(' was never closed (bad.py:1)"),
    ("\nimport a_module_of_nobody", "importing it failed: ModuleNotFoundError: No module named 'a_module_of_nobody'"),
    ("import sys\nsys.exit(3)", "importing it failed: SystemExit: 3 (bad.py:2)"),
    ("raise KeyboardInterrupt", "importing it failed: KeyboardInterrupt"),
    ("import os\nprint('the last word', flush=True)\nos._exit(4)", "importing it ends the process (exit code 4)"),
    ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "importing it ends the process (killed by SIGKILL)"),
    # 1, or 120 where the interpreter cannot even flush what is closed
    ("import os\nos.closerange(0, 100)\n1 / 0", "importing it ends the process (exit code 1"),
]


@pytest.fixture
def directory(write: Write) -> Path:
    """With a file of Python."""
    return write(CODE, "code.py").parent


def run_of(run: str, directory: Path) -> str:
    """As the config gives it: files with their whole path."""
    return f"{directory}/{run}" if ".py:" in run else run


def test_what_is_found(directory: Path) -> None:
    names = [("handler", "plain"), ("handler", "quick"), ("plugin", "Both"), ("wsgi", "wsgi"), ("asgi", "asgi")]
    wanted = [Wanted(f"{directory}/code.py:{name}", kind) for kind, name in names]
    codes, faults = import_all(wanted, directory)
    assert faults == {}
    file = f"{directory}/code.py"
    assert [codes[each] for each in wanted] == [
        Code(False, "def", f"{file}:4"),
        Code(True, "async def", f"{file}:6"),
        Code(False, "on_request: async def, on_response: def", f"{file}:8"),
        Code(False, "WSGI application", f"{file}:12"),
        Code(True, "ASGI application", f"{file}:14"),
    ]


@pytest.mark.parametrize(("kind", "run", "fault"), FAULTS)
def test_names_that_do_not_do(kind: str, run: str, fault: str, directory: Path) -> None:
    wanted = Wanted(run_of(run, directory), kind)
    codes, faults = import_all([wanted], directory)
    assert codes == {}
    assert faults[wanted].replace(f"{directory}/", "") == fault


@pytest.mark.parametrize(("text", "fault"), BAD_MODULES)
def test_a_module_that_cannot_be_imported_stops_no_other(text: str, fault: str, directory: Path, write: Write) -> None:
    write(text, "bad.py")
    bad, good = Wanted(f"{directory}/bad.py:f", "handler"), Wanted(f"{directory}/code.py:plain", "handler")
    codes, faults = import_all([bad, good], directory)
    assert list(codes) == [good]
    assert list(faults) == [bad]
    assert faults[bad].replace(f"{directory}/", "").startswith(f"bad.py:f: {fault}")


def test_the_last_words_of_what_crashed_are_told(directory: Path, write: Write) -> None:
    write("import os\nprint('no licence', flush=True)\nos._exit(4)", "bad.py")
    bad = Wanted(f"{directory}/bad.py:f", "handler")
    assert import_all([bad], directory)[1][bad].endswith("(exit code 4): no licence")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("import time\ntime.sleep(600)", "; it stands at bad.py:2"),
        ("import threading\nthreading.Event().wait()", "; it stands at bad.py:2"),
        ("while True:\n    pass", "; it stands at bad.py:"),
        ("input()", None),  # there is nothing to read: an EOFError at once
    ],
)
def test_an_import_that_hangs_is_given_up(text: str, where: str | None, directory: Path, write: Write) -> None:
    write(text, "bad.py")
    bad, good = Wanted(f"{directory}/bad.py:f", "handler"), Wanted(f"{directory}/code.py:plain", "handler")
    began = time.monotonic()
    codes, faults = import_all([bad, good], directory, limit_s=0.3)
    assert time.monotonic() - began < 30.0
    assert list(codes) == [good]
    fault = faults[bad].replace(f"{directory}/", "")
    assert fault.startswith(f"bad.py:f: importing it takes longer than 0.3 s{where}" if where else "bad.py:f: ")
    assert where or "EOFError" in fault


def test_threads_and_exit_handlers_of_a_module_are_not_waited_for(directory: Path, write: Write) -> None:
    text = "import atexit, threading\natexit.register(threading.Event().wait)\n"
    write(f"{text}threading.Thread(target=threading.Event().wait).start()\ndef f(request): ...\n", "lasting.py")
    wanted = Wanted(f"{directory}/lasting.py:f", "handler")
    began = time.monotonic()
    assert list(import_all([wanted], directory)[0]) == [wanted]
    assert time.monotonic() - began < 20.0


def test_each_file_is_imported_once(directory: Path, write: Write) -> None:
    write(f"open({str(directory / 'count')!r}, 'a').write('x')\ndef f(request): ...\ndef g(request): ...", "once.py")
    wanted = [Wanted(f"{directory}/once.py:{name}", kind) for name in "fg" for kind in ("handler", "plugin")]
    codes, _ = import_all(wanted * 2, directory)
    assert len(codes) == 4
    assert (directory / "count").read_text() == "x"


def test_modules_beside_the_config_come_first(directory: Path, write: Write) -> None:
    write("def f(request): ...", "shop/price.py")
    write("def f(request): ...", "wave.py")  # of the standard library, otherwise
    codes, faults = import_all([Wanted("shop.price:f", "handler"), Wanted("wave:f", "handler")], directory)
    assert faults == {}
    assert [code.place for code in codes.values()] == [f"{directory}/shop/price.py:1", f"{directory}/wave.py:1"]


def test_nothing_that_a_module_writes_gets_out(
    directory: Path, write: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    write("import os, sys\nprint('a')\nsys.stderr.write('b')\nos.write(1, b'c')\ndef f(request): ...", "loud.py")
    import_all([Wanted(f"{directory}/loud.py:f", "handler")], directory)
    assert capfd.readouterr() == ("", "")


# --- as errors of a config -------------------------------------------------------------------------------------------


def test_each_fault_is_told_once_where_the_name_stands_first(faults: Faults, directory: Path) -> None:
    text = """
defaults: {route: {plugins: ["code.py:nope"]}}
routes:
  - {match: /a, handler: "code.py:plein"}
  - {match: /b, handler: {run: "code.py:plein"}}
  - {match: /c, app: {wsgi: "code.py:asgi"}}
"""
    found = [fault.replace(f"{directory}/", "") for fault in faults(text)]
    assert [fault.partition(": code.py")[0] for fault in found] == [
        "c.yaml:2:30: defaults.route.plugins[0]",
        "c.yaml:4:26: routes[0].handler",
        "c.yaml:6:29: routes[2].app.wsgi",
    ]


def test_other_faults_are_told_in_the_same_run(faults: Faults, directory: Path) -> None:
    text = "routes:\n  - {match: /a, handler: 'code.py:plein'}\n  - {match: /b, too: x}\n"
    assert [fault.partition(": ")[0] for fault in faults(text)] == ["c.yaml:2:26", "c.yaml:3:17"]


@pytest.mark.parametrize("executor", ["default", "work"])
def test_an_async_def_on_an_executor(executor: str, faults: Faults, directory: Path) -> None:
    text = "executors: {work: {processes: 1}}\nroutes:\n- match: /\n"
    text += f"  handler: {{run: 'code.py:quick', executor: {executor}}}\n"
    text += "- {match: /b, handler: {run: 'code.py:plain', executor: work}}"
    assert [fault.replace(f"{directory}/", "") for fault in faults(text)] == [
        "c.yaml:4:45: routes[0].handler.executor: quick is `async def` (code.py:6): it runs on the event loop, "
        "never on an executor (remove the key, or write a plain `def`)"
    ]


def test_a_class_with_one_plain_method_may_have_an_executor(directory: Path, write: Write) -> None:
    text = (
        "executors: {a: {threads: 1}}\nroutes: [{match: /, respond: 204, plugins: {run: 'code.py:Both', executor: a}}]"
    )
    assert load(write(text)).warnings == ()


def test_what_is_missing_is_to_be_installed(faults: Faults, write: Write) -> None:
    write("import a_module_of_nobody", "bad.py")
    (fault,) = faults("routes: [{match: /, handler: 'bad.py:f'}]")
    assert "(install it for the Python of the gateway, " in fault


def test_without_import_nothing_is_run(directory: Path, write: Write) -> None:
    write(f"open({str(directory / 'ran')!r}, 'w')", "bad.py")
    loaded = load(write("routes: [{match: /, handler: 'bad.py:f'}]"), import_s=None)
    assert (loaded.codes, os.path.exists(directory / "ran")) == ({}, False)
