"""What the loads share: the running proxies, the length of a measurement, and one way to measure a proxy."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from certs import Certificates, make_certificates
from generators import LOAD_CORE, Answers, wrk
from processes import BenchError, CpuMeter, core_seconds, memory, tree
from proxies import PEERS, PROXY_CORE, Gateway, Proxy, make_site, peer, python
from upstream import Upstream

Figures = dict[str, float]
"""What was measured, by name; the unit is in the name."""


@dataclass(slots=True)
class Bench:
    """One run. `subjects` are the gateways under test, `peers` what they are compared with."""

    dir: Path
    seconds: float
    commands: dict[str, str]
    """The command of each gateway under test, by name: what stands before `run CONFIG`."""
    peer_names: tuple[str, ...]
    profile_dir: Path | None = None
    upstream: Upstream = field(init=False)
    certificates: Certificates = field(init=False)
    proxies: dict[str, Proxy] = field(default_factory=dict)
    rate: float = 0.0
    """Requests a second of the open loop: half of the first gateway's peak, once that was measured."""
    start_cost: dict[str, Figures] = field(default_factory=dict)
    """What gateways took from their start to the first answer, by name."""
    load_name: str = ""

    def start(self) -> None:
        self.certificates = make_certificates(self.dir)
        self.upstream = Upstream(self.dir / "upstream", LOAD_CORE)
        for name in self.commands:
            self.add_gateway(name, name)
        for name in self.peer_names:
            self.proxies[name] = peer(name, self.dir, self.upstream.port, self.certificates)
        for proxy in list(self.proxies.values()):
            proxy.start()
            check_answers(proxy)

    def stop(self) -> None:
        for proxy in self.proxies.values():
            proxy.stop()
        self.upstream.stop()

    def add_gateway(self, name: str, subject: str, paths: tuple[str, ...] = ("/*",)) -> Proxy:
        """Another gateway with the command of `subject`; not started."""
        site = make_site(name, self.dir, self.upstream.port, self.certificates)
        self.proxies[name] = Proxy(site, Gateway(self.commands[subject], paths))
        return self.proxies[name]

    def measure(self, proxy: Proxy, generate: Callable[[], Answers]) -> Figures:
        """Cost and speed of a proxy while the generator runs."""
        proxy.check_alive()
        with self._profiled(proxy):
            meter, core, began = CpuMeter(proxy.pid), core_seconds(PROXY_CORE), time.monotonic()
            answers = generate()
            cpu_s = meter.seconds()
            others_s = core_seconds(PROXY_CORE) - core - cpu_s
            wall_s = time.monotonic() - began
        proxy.truncate_log()
        if not answers.count:
            raise BenchError(f"{proxy.name} answered nothing")
        return {
            "cpu_us": cpu_s / answers.count * 1e6,
            "rps": answers.count / answers.seconds,
            "p50_ms": answers.p50_ms,
            "p99_ms": answers.p99_ms,
            "rss_mb": memory(proxy.pid).rss / 1e6,
            "errors": answers.errors,
            "others_pct": max(0.0, others_s / wall_s * 100),
        }

    def half_peak(self) -> float:
        """Half of what the first gateway under test (or else the first peer) answers at most; measured once."""
        if not self.rate:
            first = next(iter(self.proxies.values()))
            answers = wrk(url(first), connections=64, seconds=max(2.0, self.seconds / 2))
            self.rate = answers.count / answers.seconds / 2
        return self.rate

    @contextlib.contextmanager
    def _profiled(self, proxy: Proxy) -> Iterator[None]:
        if self.profile_dir is None or proxy.name in PEERS:
            yield
            return
        output = self.profile_dir / f"{self.load_name}-{proxy.name}.txt"
        argv = [_py_spy(), "record", "--pid", str(_busiest(proxy.pid)), "--format", "raw", "--nonblocking"]
        argv += ["--rate", "500", "--duration", "600", "--output", str(output)]
        recorder = subprocess.Popen(
            ["taskset", "-c", str(LOAD_CORE), *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            recorder.send_signal(signal.SIGINT)
            recorder.wait(30)


def url(proxy: Proxy, path: str = "/") -> str:
    return f"http://127.0.0.1:{proxy.site.http}{path}"


def check_answers(proxy: Proxy, timeout_s: float = 15.0) -> float:
    """Seconds until the first right answer; BenchError when it does not forward what all of them must forward."""
    began = time.monotonic()
    seen = ""
    while time.monotonic() < began + timeout_s:
        try:
            with urllib.request.urlopen(url(proxy, "/echo"), timeout=5) as answer:
                seen = answer.read().decode()
                request_id = answer.headers["X-Request-Id"]
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            seen = str(error)
            time.sleep(0.02)
            continue
        if request_id and f'"id":"{request_id}","for":"127.0.0.1","proto":"http"' in seen:
            return time.monotonic() - began
        break
    raise BenchError(f"{proxy.name} does not forward the request id and X-Forwarded headers; the upstream saw: {seen}")


def _py_spy() -> str:
    found = shutil.which("py-spy", path=f"{Path(python()).parent}:{os.environ.get('PATH', '')}")
    if found is None:
        raise BenchError("--profile needs py-spy: pip install py-spy")
    return found


def _busiest(pid: int) -> int:
    """The worker: of the tree, the process that used most CPU so far, the root apart."""
    children = tree(pid)[1:] or [pid]
    return max(children, key=lambda each: int(Path(f"/proc/{each}/schedstat").read_text().split()[0]))
