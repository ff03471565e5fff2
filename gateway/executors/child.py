"""What runs in a process of an executor: one call after the other, until the worker ends.

Started as `python -m gateway.executors.child SOCKET LIFE PARENT`: the descriptors of a socket and of a pipe whose other
end only the worker holds, and the worker's pid. It leads a process group, with which it ends what users' code started.
"""

import fcntl
import os
import pickle
import select
import signal
import socket
import sys
import threading
import traceback
from typing import NoReturn

from gateway.core import current
from gateway.executors.frames import RemoteError, Setup, receive_frame, send_frame
from gateway.executors.work import label_of


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keys of a terminal are the supervisor's affair
    sys.stdout = sys.stderr  # written line by line; and standard output may be the access log
    sock, life, parent = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    os.register_at_fork(after_in_child=sock.close)  # a fork of users' code must not answer in our place
    _die_with(life)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        failure = _set_up(pickle.loads(receive_frame(sock)))
        send_frame(sock, failure.encode("utf-8", "backslashreplace"))
        while not failure:
            send_frame(sock, _answer(receive_frame(sock)))
    except (EOFError, OSError):
        pass  # the worker has ended, or closed the executor; or this is a fork
    _end()


def _die_with(life: int) -> None:
    """Let the kernel kill the group when the worker ends, though a call in C may hold the interpreter for ever."""
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)


def _end_with(parent: int) -> None:
    """End when the worker does, though a fork of it may still hold the other end of the pipe."""
    try:
        watched = os.pidfd_open(parent)
    except ProcessLookupError:
        _end()
    if os.getppid() == parent:
        select.select([watched], [], [])
    _end()


def _end() -> NoReturn:
    """At once, whatever threads user code started, and with all processes that it started."""
    if os.getpid() == os.getpgrp():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _set_up(setup: Setup) -> str:
    """What is wrong; empty where nothing is."""
    sys.path[:] = setup.path
    os.nice(setup.niceness)
    try:
        for function, arguments in pickle.loads(setup.steps):
            function(*arguments)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _answer(call: bytes) -> bytes:
    """The pickled (True, result) or (False, error, traceback) of one call."""
    try:
        function, arguments, request_id, deadline = pickle.loads(call)
    except BaseException as error:
        return _failed(_explained("the call cannot be read in the process of the executor", error))
    current.enter(request_id, deadline)
    try:
        result = function(*arguments)
    except BaseException as error:
        return _failed(error)
    finally:
        current.enter("", float("inf"))
    try:
        return pickle.dumps((True, result))
    except BaseException as error:
        return _failed(_explained(f"what {label_of(function)} returned cannot leave its process", error))


def _explained(what: str, error: BaseException) -> TypeError:
    explained = TypeError(f"{what}: {type(error).__name__}: {error}")
    explained.__cause__ = error
    return explained


def _failed(error: BaseException) -> bytes:
    text = "".join(traceback.format_exception(error))
    try:
        data = pickle.dumps((False, error, text))
        pickle.loads(data)  # an error that takes other arguments than it keeps cannot be made again
    except BaseException:
        return pickle.dumps((False, RemoteError(f"{type(error).__name__}: {error}"), text))
    return data


if __name__ == "__main__":
    main()
