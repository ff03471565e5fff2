"""What tests/bench/overload is judged by: connections that ask anew as soon as they are answered, and nothing else.

    python overload_floor.py PORT CONNECTIONS SECONDS

Prints the answers a second. What is missing to the upstream's capacity is the way of an answer, the wake-up of two
processes and what else runs on their cores. A proxy with no more than CONNECTIONS under way can do hardly better: by
a little, since a core that is busy with other requests is sooner awake.
"""

import select
import socket
import sys
import time

REQUEST = b"GET /item HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: overload\r\nAccept: */*\r\n\r\n"


def run(port: int, connections: int, seconds: float) -> float:
    poll = select.epoll()
    sockets = {}
    for _ in range(connections):
        made = socket.create_connection(("127.0.0.1", port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[made.fileno()] = made
        poll.register(made, select.EPOLLIN)
    end = time.monotonic() + seconds
    for each in sockets.values():
        each.sendall(REQUEST)
    answered = 0
    while time.monotonic() < end:
        for descriptor, _ in poll.poll(1.0):
            sockets[descriptor].recv(65536)
            sockets[descriptor].sendall(REQUEST)
            answered += 1
    return answered / seconds


if __name__ == "__main__":
    print(run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
