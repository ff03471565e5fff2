"""A worker that behaves as the environment says: `python -m tests.support.worker FD`, in place of the real one.

FAKE_WORKER is serve, fail (says why and ends), exit (ends without a word), flap (serves and ends), or hang (serves
without a sign of life, deaf to everything but SIGKILL).
"""

import os
import signal
import socket
import sys
import time

from gateway.core.clock import monotonic
from gateway.observe.memory import SharedMemory, WorkerState
from gateway.runtime.control import Control, Drain, Failed, Ready, Start


def main() -> None:
    sock = socket.socket(fileno=int(sys.argv[1]))
    control = Control(sock)
    start = control.receive()
    assert isinstance(start, Start)
    behaviour = os.environ["FAKE_WORKER"]
    if behaviour == "fail":
        control.send(Failed("no such thing"))
    if behaviour in ("fail", "exit"):
        sys.exit(3)
    slot = SharedMemory.attach(start.memory).slot(start.slot)
    slot.heartbeat = monotonic()
    slot.state = WorkerState.SERVING
    control.send(Ready())
    if behaviour == "flap":
        sys.exit(0)
    if behaviour == "hang":
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        time.sleep(600)
    sock.settimeout(0.05)
    while True:
        slot.heartbeat = monotonic()
        try:
            message = control.receive()
        except TimeoutError:
            continue
        if message is None or isinstance(message, Drain):
            return


main()
