"""The gateway's own log, on standard error: one line an event, text or JSON, never a traceback at a user."""

import logging
import os
import select
import time
import traceback
from dataclasses import dataclass

from gateway.core.json import dumps

_LINE_BYTES = 4096
"""The most a pipe takes whole (PIPE_BUF), so that lines of several processes do not mix."""

_TEXT_CHARS = 1500


@dataclass(frozen=True, slots=True)
class LogSettings:
    level: str = "info"
    """debug | info | warning | error"""
    format: str = "text"
    """text | json"""


def setup(settings: LogSettings, process: str) -> None:
    """Send everything logged to standard error; `process` (`supervisor`, `0`, `1`, ...) stands in each line.

    Tracebacks are shown at level debug only; otherwise an exception is its type and message.
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


class TextFormatter(logging.Formatter):
    """`2026-11-23T01:35:29.123Z info [worker 0] message`; control characters escaped."""

    def __init__(self, process: str, *, tracebacks: bool = False) -> None:
        super().__init__()
        self._process = f"worker {process}" if process.isdecimal() else process
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        parts = [_timestamp(record), record.levelname.lower(), f"[{self._process}]", record.getMessage()]
        if error := _error(record):
            parts.append(f"({error})")
        line = _on_one_line(" ".join(parts))
        trace = self.formatException(record.exc_info) if self._tracebacks and record.exc_info else ""
        return f"{line}\n{trace}" if trace else line


class JsonFormatter(logging.Formatter):
    """One object a line: ts, level, process, logger, message and, where there was one, error."""

    def __init__(self, process: str, *, tracebacks: bool = False) -> None:
        super().__init__()
        self._process = process
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "ts": _timestamp(record),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": _encodable(record.getMessage()),
        }
        if error := _error(record):
            fields["error"] = _encodable(error)
        if self._tracebacks and record.exc_info:
            fields["traceback"] = _encodable(self.formatException(record.exc_info))
        return dumps(fields).decode()


def _timestamp(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _error(record: logging.LogRecord) -> str:
    """Type, message and place of the exception, on one line."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return ""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{text} at {frames[0].filename}:{frames[0].lineno}" if frames else text


def _on_one_line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _encodable(text: str) -> str:
    """`text` as JSON can hold it, short enough that the line stays whole."""
    return text[:_TEXT_CHARS].encode("utf-8", "backslashreplace").decode()
