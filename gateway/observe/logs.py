"""The gateway's own log, on standard error: one line an event, text or JSON.

An exception of ours is its type, message and place on that line. One of the users' Python comes with its traceback
(indented below the line, or as a field), without the frames of the gateway that led there: equal ones once in a while,
so that code that fails for every request does not flood the log. Its line is always there.
"""

import asyncio
import logging
import os
import re
import select
import time
import traceback
from dataclasses import dataclass
from math import inf
from types import TracebackType

import gateway
from gateway.core import current
from gateway.core.clock import Clock
from gateway.core.json import dumps

_LINE_BYTES = 4096
"""The most a pipe takes whole (PIPE_BUF), so that lines of several processes do not mix."""

_TEXT_CHARS = 1500

TRACE_EVERY_S = 10.0
"""A traceback of the same error through the same places is shown no more often."""
_TRACES = 1000
"""Tracebacks that are remembered."""

OF_USERS = "of_users"
"""`extra={OF_USERS: True}` with a record: its exception was raised by the users' Python."""

_PLACE = re.compile(r'File "([^"]+)", line (\d+)')
_NOT_USERS = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in (gateway.__file__, asyncio.__file__))
"""Where frames lie that lead to the users' code; site-packages may lie beside, but not below."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    level: str = "info"
    """debug | info | warning | error"""
    format: str = "text"
    """text | json"""


def setup(settings: LogSettings, process: str) -> None:
    """Send everything logged to standard error; `process` (`supervisor`, `0`, `1`, ...) stands in each line.

    Our own tracebacks are shown at level debug only.
    """
    level = logging.getLevelName(settings.level.upper())
    formatter_class = JsonFormatter if settings.format == "json" else TextFormatter
    handler = StderrHandler()
    handler.setFormatter(formatter_class(process, tracebacks=level <= logging.DEBUG))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(max(level, logging.INFO))


class StderrHandler(logging.Handler):
    """Writes whole lines and never waits: a line that standard error cannot take now is lost."""

    def __init__(self, fd: int = 2) -> None:
        super().__init__()
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self.lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode("utf-8", "backslashreplace")[: _LINE_BYTES - 1] + b"\n"
            if self._poll.poll(0):
                os.write(self._fd, line)
                return
        except Exception:  # a log line is never worth an exception in the code that wrote it
            pass
        self.lost += 1


class _Formatter(logging.Formatter):
    """What both formats share: who writes, and which tracebacks are shown."""

    def __init__(self, process: str, *, tracebacks: bool = False, now: Clock = time.monotonic) -> None:
        super().__init__()
        self._process = process
        self._tracebacks = tracebacks
        self._now = now
        self._shown_at: dict[str, float] = {}

    def _trace(self, record: logging.LogRecord) -> str:
        """The traceback, if there is one to show and it was not shown just now."""
        trace = _trace(record, ours=self._tracebacks)
        return trace if trace and self._is_news(_kind(record, trace)) else ""

    def _is_news(self, kind: str) -> bool:
        now = self._now()
        if now - self._shown_at.get(kind, -inf) < TRACE_EVERY_S:
            return False
        if len(self._shown_at) >= _TRACES:
            self._shown_at.clear()
        self._shown_at[kind] = now
        return True


class TextFormatter(_Formatter):
    """`2026-11-23T01:35:29.123Z info [worker 0] message`; control characters escaped.

    What is logged while a request is worked on says which, whoever logs it.
    """

    def __init__(self, process: str, *, tracebacks: bool = False, now: Clock = time.monotonic) -> None:
        super().__init__(f"worker {process}" if process.isdecimal() else process, tracebacks=tracebacks, now=now)

    def format(self, record: logging.LogRecord) -> str:
        message, request = record.getMessage(), current.request_id.get()
        if request and request not in message:
            message = f"request {request}: {message}"
        parts = [_timestamp(record), record.levelname.lower(), f"[{self._process}]", message]
        if error := _error(record):
            parts.append(f"({error})")
        line = _on_one_line(" ".join(parts))
        lines = self._trace(record)[-_TEXT_CHARS:].splitlines()
        return "\n    ".join([line, *map(_on_one_line, lines)])


class JsonFormatter(_Formatter):
    """One object a line: ts, level, process, logger, message and, where there was one, request_id and error."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "ts": _timestamp(record),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": _encodable(record.getMessage()),
        }
        if request := current.request_id.get():
            fields["request_id"] = request
        if error := _error(record):
            fields["error"] = _encodable(error)
        if trace := self._trace(record):
            fields["traceback"] = _encodable(trace[-_TEXT_CHARS:])
        return dumps(fields).decode()


def _timestamp(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _error(record: logging.LogRecord) -> str:
    """Type, message and place of the exception, on one line."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return ""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    place = _place(error)
    return f"{text} at {place}" if place else text


def _kind(record: logging.LogRecord, trace: str) -> str:
    """What equal tracebacks share: type and places; messages differ with the request."""
    error = record.exc_info[1] if record.exc_info else None
    return f"{type(error).__name__} at {_PLACE.findall(trace)}"


def _place(error: BaseException) -> str:
    """`file:line` where it was raised; empty if that is not known."""
    if remote := _PLACE.findall(_remote(error)):
        return ":".join(remote[-1])
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{frames[0].filename}:{frames[0].lineno}" if frames else ""


def _trace(record: logging.LogRecord, *, ours: bool) -> str:
    """The traceback of an exception of the users' Python; with `ours`, of any."""
    error = record.exc_info[1] if record.exc_info else None
    of_users = getattr(record, OF_USERS, False) or not record.name.startswith(("gateway", "asyncio"))
    if error is None or not (ours or of_users):
        return ""
    if of_users and (remote := _remote(error)):
        return remote
    trace = error.__traceback__
    return "".join(traceback.format_exception(type(error), error, _behind_ours(trace) if of_users else trace)).rstrip()


def _remote(error: BaseException) -> str:
    """The traceback in the process of an executor that the error came from; else empty."""
    text = getattr(error.__cause__, "text", "")
    return text.rstrip() if isinstance(text, str) else ""


def _behind_ours(trace: TracebackType | None) -> TracebackType | None:
    """From the first frame that is the users' own."""
    at = trace
    while at is not None and at.tb_frame.f_code.co_filename.startswith(_NOT_USERS):
        at = at.tb_next
    return at or trace


def _on_one_line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _encodable(text: str) -> str:
    """`text` as JSON can hold it, short enough that the line stays whole."""
    return text[:_TEXT_CHARS].encode("utf-8", "backslashreplace").decode()
