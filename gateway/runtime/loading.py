"""Reading the config in a process of its own, which ends with what it imported.

The libraries that check a config (pydantic, ruamel.yaml) would stay in the supervisor's memory for its whole life.
Importing them takes 0.3 s, reading a small config 5 ms: so the process waits a while for the next reading.
"""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress

from gateway.config.settings import GatewaySettings
from gateway.config.sources import Sources
from gateway.core.interpreter import NICE, command, environment
from gateway.runtime.layout import OTHER_VERSION, layout

CONFIG_WRONG = 2
"""Exit code of the gateway."""
IDLE_S = 30.0
"""The process keeps some 60 MB for so long after a reading: an operator who reloads again does it within this time."""
_LENGTH_BYTES = 8
_Answer = tuple[GatewaySettings | Sources, tuple[str, ...]]
"""Settings and warnings, or, of a config that is wrong, its files and the errors."""


class LoadFailed(Exception):
    """The config is wrong; `errors` are all of them, each with its picture on further lines. `sources`: its files."""

    def __init__(self, errors: tuple[str, ...], sources: Sources | None = None) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors
        self.sources = sources or Sources()


class Reader:
    """Reads one config, again and again; any thread may, one after the other."""

    def __init__(self, path: str, *, idle_s: float = IDLE_S) -> None:
        self._path = path
        self._idle_s = idle_s
        self._child: _Child | None = None
        self._lock = threading.Lock()
        self._idle: threading.Timer | None = None
        self._closed = False

    def begin(self) -> None:
        """Start the process ahead of the first `read`."""
        with self._lock:
            self._child = self._child or _Child(self._path)

    def read(self) -> tuple[GatewaySettings, tuple[str, ...]]:
        """The settings that the file says now, and the warnings. Raises LoadFailed."""
        with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            try:
                return self._read()
            finally:
                self._idle = threading.Timer(self._idle_s, self._end_idle)
                self._idle.daemon = True
                self._idle.start()

    def rest(self) -> None:
        """End the process; the next `read` starts another."""
        with self._lock:
            self._stop()

    def close(self) -> None:
        """End the process, also while it reads: then that `read` raises, as every other from now on."""
        self._closed = True
        if self._child is not None:
            self._child.kill()

    def _read(self) -> tuple[GatewaySettings, tuple[str, ...]]:
        if self._closed:
            raise LoadFailed(("the gateway stops",))
        waited = self._child is not None
        self._child = child = self._child or _Child(self._path)
        answer = child.ask()
        if answer is None:
            said = self._stop()
            if waited and not said:  # somebody ended it meanwhile, such as the kernel for want of memory
                return self._read()
            raise LoadFailed((said or "the config could not be read: the process that reads it was ended",))
        found, texts = answer
        if isinstance(found, Sources):
            raise LoadFailed(texts, found)
        return found, texts

    def _end_idle(self) -> None:
        with self._lock:
            if self._idle is threading.current_thread():
                self._stop()

    def _stop(self) -> str:
        child, self._child = self._child, None
        return child.end() if child else ""

    def __repr__(self) -> str:
        return f"<Reader {self._path} pid={self._child.pid if self._child else None}>"


class _Child:
    """The process: reads the config for each byte that it is sent, and ends when no more can come."""

    def __init__(self, path: str) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command("gateway.runtime.loading", path, layout()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment({}),
        )

    def ask(self) -> "_Answer | None":
        """What it answers; None when it ended before that."""
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        try:
            os.write(asked.fileno(), b"\n")
        except BrokenPipeError:
            return None
        length = int.from_bytes(answers.read(_LENGTH_BYTES), "big")
        stored = answers.read(length)
        return pickle.loads(stored) if length and len(stored) == length else None

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> str:
        """Returns when it is gone: what it said that was no answer."""
        self.kill()
        with self._process, self._said:
            self._process.wait()
            self._said.seek(0)
            return self._said.read().decode(errors="replace").strip()


def main() -> None:
    """The child: as nice as the admin address, since reading 10 000 routes takes 2 s of a core.

    Its arguments are the file and the layout of who reads its answers.
    """
    if sys.argv[2] != layout():
        sys.exit(OTHER_VERSION)
    from gateway.config.load import ConfigError, load

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is told by the parent, once
    with suppress(OSError):  # some sandboxes forbid it
        os.nice(NICE)
    while sys.stdin.buffer.read(1):
        try:
            loaded = load(sys.argv[1])
        except ConfigError as error:
            _answer(error.sources, error.texts)
        else:
            _answer(loaded.settings, tuple(warning.render() for warning in loaded.warnings))


def _answer(found: GatewaySettings | Sources, texts: tuple[str, ...]) -> None:
    answer: _Answer = found, texts
    stored = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
    sys.stdout.buffer.write(len(stored).to_bytes(_LENGTH_BYTES, "big") + stored)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
