"""Load generators: wrk (closed loop), h2load in HTTP/1.1 mode (open loop, TLS handshakes), clients of our own."""

import contextlib
import re
import select
import shlex
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from processes import BenchError

LOAD_CORE = 1
GENERATOR_TIMEOUT_S = 120
LUA = Path(__file__).with_name("lua")
HEADERS = (
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "application/json, text/plain, */*"),
    ("Accept-Encoding", "gzip, deflate, br"),
    ("Accept-Language", "en-GB,en;q=0.7,de;q=0.3"),
)
"""With Host, which the generators add, the five fields of an ordinary request."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What one run of a generator saw."""

    count: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int
    worst_ms: float = 0.0
    """Where the time of every single one is known."""


def wrk(
    url: str, *, connections: int, seconds: float, script: str = "", arguments: Sequence[str] = (), close: bool = False
) -> Answers:
    """As many requests as `connections` can make one after the other."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "10s"]
    for name, value in HEADERS:
        argv += ["-H", f"{name}: {value}"]
    if close:
        argv += ["-H", "Connection: close"]
    if script:
        argv += ["-s", str(LUA / script)]
    output = _run([*argv, url, *(["--", *arguments] if arguments else [])])
    return _parse_wrk(output)


_UNIT_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


def _parse_wrk(output: str) -> Answers:
    done = re.search(r"(\d+) requests in ([\d.]+)(s|m)", output)
    percentiles = dict(re.findall(r"^\s+(50|99)%\s+([\d.]+(?:us|ms|s|m))$", output, re.M))
    if done is None or len(percentiles) != 2:
        raise BenchError(f"wrk said:\n{output}")
    socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    status_errors = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    errors = sum(map(int, socket_errors.groups())) if socket_errors else 0
    errors += int(status_errors[1]) if status_errors else 0
    seconds = float(done[2]) * _UNIT_MS[done[3]] / 1000
    return Answers(int(done[1]), seconds, _ms(percentiles["50"]), _ms(percentiles["99"]), errors)


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNIT_MS[unit]


def h2load_rate(url: str, log: Path, *, connections: int, seconds: float, rate: float) -> Answers:
    """`rate` requests a second over all connections, whatever the answers do.

    Latencies come from the log of every single request; the first half second, in which connections open, is left out.
    """
    return _h2load(url, log, [f"-c{connections}", f"-D{max(1, round(seconds))}", f"--rps={rate / connections:.3f}"])


def h2load_steady(url: str, *, connections: int, seconds: float, rate: float, core: int) -> "subprocess.Popen[str]":
    """The same for minutes, without a log, in the background; its summary comes on standard output."""
    argv = ["taskset", "-c", str(core), "h2load", "--h1", "-t1", f"-c{connections}", f"-D{round(seconds)}"]
    for name, value in HEADERS:
        argv += ["-H", f"{name}: {value}"]
    return subprocess.Popen([*argv, f"--rps={rate / connections:.3f}", url], stdout=subprocess.PIPE, text=True)


def h2load_handshakes(url: str, log: Path, *, rate: int, seconds: float) -> Answers:
    """One request on each new connection, `rate` connections a second, each with a full TLS handshake.

    Every connection is a client of its own: wrk, and h2load when it reconnects, resume their sessions, which hides
    the price of the server's signature.
    """
    clients = round(rate * seconds)
    return _h2load(url, log, [f"-c{clients}", f"-n{clients}", f"-r{max(1, rate // 20)}", "--rate-period=50ms"])


def _h2load(url: str, log: Path, options: Sequence[str]) -> Answers:
    log.unlink(missing_ok=True)
    argv = ["h2load", "--h1", "-t1", f"--log-file={log}", *options]
    for name, value in HEADERS:
        argv += ["-H", f"{name}: {value}"]
    began = time.monotonic()
    output = _run([*argv, url])
    seconds = time.monotonic() - began
    failed = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", output)
    if failed is None or not log.exists():
        raise BenchError(f"h2load said:\n{output}")
    return _parse_log(log, seconds, sum(map(int, failed.groups())))


def _parse_log(log: Path, seconds: float, failed: int) -> Answers:
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    if not rows:
        raise BenchError("h2load got no answer at all")
    bad = sum(not 200 <= int(row[1]) < 400 for row in rows)
    begin = min(int(row[0]) for row in rows) + 500_000
    times = sorted(int(row[2]) / 1000 for row in rows if int(row[0]) >= begin) or [int(rows[-1][2]) / 1000]
    return Answers(len(rows), seconds, quantile(times, 0.5), quantile(times, 0.99), max(bad, failed))


def quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _run(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            ["taskset", "-c", str(LOAD_CORE), *argv],
            capture_output=True,
            text=True,
            check=False,
            timeout=GENERATOR_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{argv[0]} did not end within {GENERATOR_TIMEOUT_S} s: {shlex.join(argv)}") from None
    if done.returncode:
        raise BenchError(f"{argv[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class OneConnection:
    """A blocking client that times request after request on one connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = get_request(port)
        self.times_us: list[float] = []

    def measure(self, count: int) -> None:
        send, receive, request, clock = self._socket.sendall, self._socket.recv, self._request, time.perf_counter_ns
        for _ in range(count):
            began = clock()
            send(request)
            answer = receive(65536)
            while not answer.endswith(b"}"):
                more = receive(65536)
                if not more:
                    raise BenchError("the connection was closed in the middle of a measurement")
                answer += more
            self.times_us.append((clock() - began) / 1000)

    def p50_us(self) -> float:
        return statistics.median(self.times_us)

    def close(self) -> None:
        self._socket.close()


def get_request(port: int, path: str = "/") -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in HEADERS)
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{fields}\r\n".encode()


@contextlib.contextmanager
def held(port: int, count: int) -> Iterator[list[socket.socket]]:
    """`count` keep-alive connections that made one request each; from several addresses, so that ports suffice."""
    sockets: list[socket.socket] = []
    request = get_request(port)
    try:
        for number in range(count):
            sockets.append(_one_request(port, request, f"127.0.1.{1 + number // 5000}"))
        yield sockets
    finally:
        for each in sockets:
            each.close()


def spread(sockets: Sequence[socket.socket], rate: float, seconds: float) -> Answers:
    """`rate` requests a second, each on the next of the connections, whatever the answers do."""
    poll = select.epoll()
    open_at: dict[int, float] = {}
    times: list[float] = []
    request = get_request(sockets[0].getpeername()[1])
    by_descriptor = {each.fileno(): each for each in sockets}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    began = time.perf_counter()
    sent = late = 0
    while (now := time.perf_counter()) < began + seconds:
        while sent < (now - began) * rate:
            each = sockets[sent % len(sockets)]
            late += each.fileno() in open_at  # its last answer is still out: the answers will come together
            open_at[each.fileno()] = began + sent / rate
            each.sendall(request)
            sent += 1
        for descriptor, _ in poll.poll(0.001):
            if not by_descriptor[descriptor].recv(65536):
                raise BenchError("a held connection was closed")
            times.append((time.perf_counter() - open_at.pop(descriptor, now)) * 1000)
    poll.close()
    times.sort()
    return Answers(sent, seconds, quantile(times, 0.5), quantile(times, 0.99), late, times[-1])


def _one_request(port: int, request: bytes, source: str) -> socket.socket:
    made = socket.socket()
    made.settimeout(10)
    # IP_BIND_ADDRESS_NO_PORT (linux/in.h): the port comes with connect, so those of earlier connections serve again.
    made.setsockopt(socket.IPPROTO_IP, 24, 1)
    made.bind((source, 0))
    made.connect(("127.0.0.1", port))
    made.sendall(request)
    answer = made.recv(65536)
    while not answer.endswith(b"}"):
        more = made.recv(65536)
        if not more:
            raise BenchError("a held connection was closed before its answer")
        answer += more
    if b" 200 " not in answer[:16]:
        raise BenchError(f"a held connection was answered with {answer[:40]!r}")
    return made
