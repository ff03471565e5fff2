"""The access log of one worker: from exchanges to lines, by the settings that hold."""

import threading
import time
from collections.abc import Callable

from gateway.core.exchange import Exchange
from gateway.observe.access_log import AccessLog, AccessLogSettings, compile_formatter
from gateway.observe.registry import Registry
from gateway.pipeline.route import Call


class ExchangeLog:
    """Belongs to the loop thread."""

    def __init__(self, registry: Registry, worker: int, *, sole_writer: bool) -> None:
        self.tell: Callable[[Exchange], None] | None = None
        """To be told of each exchange at its end; None: nobody wants to know."""
        self._registry = registry
        self._worker = worker
        self._sole_writer = sole_writer
        self._path = ""
        self._log: AccessLog | None = None
        self._left: list[AccessLog] = []
        """Those that still write what they were given."""

    def use(self, settings: AccessLogSettings | None) -> None:
        """Log so from now on. Where the path stays, so does the file."""
        path = "" if settings is None else settings.path
        if path != self._path:
            self._leave()
            if settings is not None:
                self._log = AccessLog(path, sole_writer=self._sole_writer)
                self._log.count_in(self._registry)
            self._path = path
        self.tell = None if settings is None or self._log is None else self._teller(settings, self._log)

    def _leave(self) -> None:
        """Let the log end beside the loop."""
        log, self._log = self._log, None
        if log is not None:
            log.hand_over()
            self._left.append(log)
            threading.Thread(target=log.close, name="access-log-end", daemon=True).start()

    def _teller(self, settings: AccessLogSettings, log: AccessLog) -> Callable[[Exchange], None]:
        formatter, write, worker, wall = compile_formatter(settings), log.write, self._worker, time.time
        names = settings.headers

        def tell(exchange: Exchange) -> None:
            if names and isinstance(exchange, Call):
                found = exchange.head.fields.index
                exchange.extra = {name: found[name] for name in names if name in found}
            line = formatter(exchange, worker, wall())
            if line is not None:
                write(line)

        return tell

    def hand_over(self) -> None:
        """Give the thread what was written; to be called on a tick."""
        if self._log is not None:
            self._log.hand_over()
        if self._left:
            self._forget(ended_only=True)

    def _forget(self, *, ended_only: bool) -> None:
        for log in [each for each in self._left if each.ended or not ended_only]:
            self._left.remove(log)
            log.close()
            log.count_out()

    def reopen(self) -> None:
        """Open the file anew, after a rotation."""
        if self._log is not None:
            self._log.reopen()

    def close(self) -> None:
        """Write what waits, and count what could not be written."""
        self._leave()
        self._forget(ended_only=False)

    def __repr__(self) -> str:
        return f"<ExchangeLog {self._log}>"
