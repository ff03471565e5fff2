"""The gateway's own log: one line an event, whatever the event says."""

import contextvars
import json
import logging
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import gateway
from gateway.core import current
from gateway.observe.logs import JsonFormatter, StderrHandler, TextFormatter

SCRIPT = """
import logging, sys
from gateway.observe.logs import LogSettings, setup
setup(LogSettings(level=sys.argv[1], format=sys.argv[2]), sys.argv[3])
log = logging.getLogger("gateway.test")
log.debug("noise")
log.info("took %s connections", 3)
try:
    {}["a key"]
except KeyError:
    log.exception("it broke")
log.warning("forged\\n2026 info \\x1b[31m\\udc80")
"""


def run(level: str, style: str, process: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, level, style, process], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_text_lines_carry_the_worker_and_no_traceback() -> None:
    took, broke, forged = run("info", "text", "2")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info \[worker 2\] took 3 connections", took)
    assert broke.endswith("error [worker 2] it broke (KeyError: 'a key' at <string>:9)")
    assert forged.endswith(r"[worker 2] forged\n2026 info \x1b[31m\udc80")


def test_lines_written_for_a_request_carry_its_id() -> None:
    def lines(message: str) -> tuple[str, str | None]:
        record = logging.LogRecord("shop", logging.INFO, "shop.py", 1, message, None, None)
        return TextFormatter("0").format(record), json.loads(JsonFormatter("0").format(record)).get("request_id")

    def of_request() -> tuple[str, str | None]:
        current.enter("r-17", math.inf)
        return lines("paid")

    text, request_id = contextvars.copy_context().run(of_request)
    assert text.endswith("info [worker 0] request r-17: paid")
    assert request_id == "r-17"
    text, request_id = lines("idle")
    assert text.endswith("info [worker 0] idle")
    assert request_id is None


def test_json_lines() -> None:
    took, broke, forged = [json.loads(line) for line in run("info", "json", "supervisor")]
    assert {**took, "ts": ""} == {
        "ts": "",
        "level": "info",
        "process": "supervisor",
        "logger": "gateway.test",
        "message": "took 3 connections",
    }
    assert broke["error"] == "KeyError: 'a key' at <string>:9"
    assert "traceback" not in broke
    assert forged["message"] == "forged\n2026 info \x1b[31m\\udc80"


def test_the_level_holds_and_debug_shows_tracebacks() -> None:
    assert len(run("warning", "text", "0")) == 2
    debug = run("debug", "text", "supervisor")
    assert debug[0].endswith("debug [supervisor] noise")
    assert "    Traceback (most recent call last):" in debug


def users(message: str, **more: Any) -> str:
    """The text line of an error of the users' code, raised below frames of the gateway."""
    namespace: dict[str, Any] = {}
    source = f"def check():\n    raise ValueError({message!r})"
    exec(compile(source, "/site/shop.py", "exec"), namespace)
    exec(compile("def call(check):\n    check()", gateway.__file__, "exec"), namespace)
    try:
        namespace["call"](namespace["check"])
    except ValueError as error:
        error.__cause__ = more.get("cause")
        trace = error.__traceback__.tb_next if error.__traceback__ else None  # without the frame of this test
        error.__traceback__ = trace
        raised = (type(error), error, trace)
        name = more.get("logger", "gateway.x")
        record = logging.LogRecord(name, logging.ERROR, "", 1, "it failed", None, raised)
        record.of_users = more.get("of_users", False)
        return str(more.get("formatter", TextFormatter("0")).format(record))
    raise AssertionError


@pytest.mark.parametrize("said", [{"of_users": True}, {"logger": "shop"}])
def test_an_error_of_the_users_code_comes_with_its_own_frames(said: dict[str, Any]) -> None:
    first, *trace = users("no\nforged line", **said).split("\n")
    assert first.endswith(r"it failed (ValueError: no\nforged line at /site/shop.py:2)")
    assert trace == [
        "    Traceback (most recent call last):",
        '      File "/site/shop.py", line 2, in check',
        "    ValueError: no",
        "    forged line",
    ]


def test_the_traceback_of_an_error_that_repeats_is_shown_once_in_a_while() -> None:
    at = [100.0]
    formatter = TextFormatter("0", now=lambda: at[0])
    seen = []
    for at[0] in (100.0, 100.1, 109.9, 110.0, 110.1):
        seen.append("Traceback" in users(f"no {at[0]}", of_users=True, formatter=formatter))
        assert "ValueError: no" in users("no", of_users=True, formatter=formatter), "each has its line"
    assert seen == [True, False, False, True, False]


@pytest.mark.parametrize("formatter_class", [TextFormatter, JsonFormatter])
def test_what_is_remembered_of_tracebacks_is_bounded(formatter_class: type[TextFormatter | JsonFormatter]) -> None:
    formatter = formatter_class("0", now=lambda: 100.0)
    assert all(formatter._is_news(f"ValueError at shop.py:{line}") for line in range(3000))
    assert len(formatter._shown_at) <= 1000


def test_an_error_of_ours_has_no_traceback() -> None:
    assert "\n" not in users("no")


def test_an_error_in_another_process_is_shown_as_it_was_there() -> None:
    class RemoteTraceback(Exception):
        text = 'Traceback (most recent call last):\n  File "/site/there.py", line 7, in check\nValueError: no\n'

    first, *trace = users("no", of_users=True, cause=RemoteTraceback()).split("\n")
    assert first.endswith("it failed (ValueError: no at /site/there.py:7)")
    assert trace[1:] == ['      File "/site/there.py", line 7, in check', "    ValueError: no"]


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("gateway", logging.INFO, __file__, 1, message, None, None)


def test_a_blocked_standard_error_stops_nobody() -> None:
    ours, theirs = os.pipe()
    handler = StderrHandler(theirs)
    handler.setFormatter(TextFormatter("0"))
    began = time.monotonic()
    for _ in range(200):
        handler.handle(record("x" * 2000))
    assert time.monotonic() - began < 2.0
    received = os.read(ours, 1 << 20)
    assert 0 < handler.lost < 200
    assert received.count(b"\n") == 200 - handler.lost
    os.close(ours)
    os.close(theirs)


def test_a_closed_standard_error_stops_nobody() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    handler = StderrHandler(theirs)
    handler.setFormatter(JsonFormatter("0"))
    handler.handle(record("lost"))
    assert handler.lost == 1
    os.close(theirs)


@pytest.mark.parametrize("formatter", [TextFormatter("0"), JsonFormatter("0")])
def test_a_line_stays_whole(tmp_path: Path, formatter: logging.Formatter) -> None:
    with (tmp_path / "log").open("wb") as file:
        handler = StderrHandler(file.fileno())
        handler.setFormatter(formatter)
        handler.handle(record("y" * 100_000))
    line = (tmp_path / "log").read_bytes()
    assert len(line) <= 4096
    assert line.count(b"\n") == 1
    if isinstance(formatter, JsonFormatter):
        assert json.loads(line)["message"].startswith("yyy")
