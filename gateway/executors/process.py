"""One process of an executor, as the worker sees it."""

import os
import pickle
import select
import signal
import socket
import subprocess
from contextlib import suppress
from typing import Final

from gateway.core.interpreter import command, environment
from gateway.executors.frames import Setup, receive_frame, send_frame

CHILD: Final = "gateway.executors.child"
START_S: Final = 60.0
"""For the interpreter and the users' imports; who is not ready by then is ended."""
STDERR: Final = 2
"""Where what users' code prints goes: standard output may be the access log."""
_SIGNALS: Final = {each.value: each.name for each in signal.Signals}


class ProcessDied(Exception):
    """The process of a call ended before the call did."""


class Process:
    """A fresh interpreter, in a process group of its own, so that what it started ends with it."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._socket, theirs = socket.socketpair()
        life, self._life = os.pipe()
        try:
            self._popen = subprocess.Popen(
                command(CHILD, str(theirs.fileno()), str(life), str(os.getpid())),
                pass_fds=(theirs.fileno(), life),
                stdin=subprocess.DEVNULL,
                stdout=STDERR,
                env=environment({}),
                process_group=0,
            )
        except OSError:
            os.close(self._life)
            raise
        finally:
            theirs.close()
            os.close(life)
        self.pid = self._popen.pid
        self._how = ""
        self._why = ""
        self._pidfd = os.pidfd_open(self.pid)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(self._pidfd, select.POLLIN)

    def set_up(self, setup: Setup) -> None:
        """Returns when it is ready. Raises ProcessDied."""
        try:
            failure = self.ask(pickle.dumps(setup), START_S).decode()
        except (EOFError, OSError) as error:
            late = isinstance(error, TimeoutError)
            raise ProcessDied(f"not ready after {START_S:g} s" if late else f"it ended ({self.end()})") from None
        if failure:
            self.end()
            raise ProcessDied(failure)

    def ask(self, data: bytes, timeout_s: float | None = None) -> bytes:
        """The reply. Raises EOFError where it ended, OSError, TimeoutError."""
        send_frame(self._socket, data)
        events = dict(self._poll.poll(None if timeout_s is None else timeout_s * 1000))
        if not events:
            raise TimeoutError
        if self._socket.fileno() not in events:  # what it started may still hold the other end
            raise EOFError
        return receive_frame(self._socket)

    def lives(self) -> bool:
        return not self._how and not any(fd == self._pidfd for fd, _ in self._poll.poll(0))

    def kill(self, why: str = "") -> None:
        """End it and what it started, now; returns at once. `why` is what `end` says then."""
        self._why = self._why or why
        if self._popen.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def end(self) -> str:
        """End it, if it has not ended, and forget it; how it ended (`SIGKILL`, `exit code 1`)."""
        if not self._how:
            self.kill()
            code = self._popen.wait()
            how = f"exit code {code}" if code >= 0 else _SIGNALS.get(-code, f"signal {-code}")
            self._how = self._why or how
            self._socket.close()
            os.close(self._pidfd)
            os.close(self._life)
        return self._how

    def __repr__(self) -> str:
        return f"<Process {self.pid}>"
