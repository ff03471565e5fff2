"""The gateway's own log: one line an event, whatever the event says."""

import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
    assert "Traceback (most recent call last):" in debug


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
