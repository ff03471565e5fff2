"""What runs in a process of an executor: one call after the other, until the worker ends.

Started as `python -m gateway.executors.child FD PARENT`, with the descriptor of a socket and the worker's pid.
"""

import os
import pickle
import select
import signal
import socket
import sys
import threading
import traceback

from gateway.core import current
from gateway.executors.frames import RemoteError, Setup, receive_frame, send_frame
from gateway.executors.work import label_of


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keys of a terminal are the supervisor's affair
    sock = socket.socket(fileno=int(sys.argv[1]))
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    try:
        failure = _set_up(pickle.loads(receive_frame(sock)))
        send_frame(sock, failure.encode("utf-8", "backslashreplace"))
        while not failure:
            send_frame(sock, _answer(receive_frame(sock)))
    except (EOFError, OSError):
        pass  # the worker has ended, or closed the executor
    os._exit(0)  # threads that user code started keep nobody


def _end_with(parent: int) -> None:
    """End when the worker does, also in the middle of a call that does not end."""
    try:
        watched = os.pidfd_open(parent)
    except ProcessLookupError:
        os._exit(1)
    if os.getppid() == parent:
        select.select([watched], [], [])
    os._exit(1)


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
