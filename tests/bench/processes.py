"""Child processes of a run: pinned to a core, ended whole, and their CPU time and memory as the kernel counts them."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
RESTS_S = 0.3
"""Less than a twentieth of a core for so long: it has started."""
_held: list[socket.socket] = []


class BenchError(Exception):
    """The run cannot go on; the text says why and what to do."""


class Process:
    """One started program with all its children, in a session of its own; `log` takes its standard error."""

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        core: int | str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.argv = list(argv)
        self.log = log
        with open(log, "ab") as out:
            self._child = subprocess.Popen(
                ["taskset", "-c", str(core), *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        self.pid = self._child.pid

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is left of the session after 3 s."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait()

    def check_alive(self) -> None:
        """Raise BenchError with the last lines it said when it has ended."""
        if self._child.poll() is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise BenchError(f"{self.argv[0]} ended with {self._child.returncode}:\n{tail}")

    def wait_listening(self, port: int, timeout_s: float = 60.0) -> None:
        """Until the port takes connections."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.check_alive()
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise BenchError(f"{self.argv[0]} does not listen on port {port} after {timeout_s:.0f} s") from None
                time.sleep(0.02)

    def wait_started(self, timeout_s: float = 60.0) -> None:
        """Until it and its children have nothing more to do: of several, the last may start for a second longer."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            meter = CpuMeter(self.pid)
            time.sleep(RESTS_S)
            if meter.seconds() < RESTS_S / 20:
                return
        raise BenchError(f"{self.argv[0]} has not come to rest after {timeout_s:.0f} s")


def free_ports(count: int) -> list[int]:
    """Ports that nobody holds, all different. They stay bound here until the bench ends, without listening: a server
    that says SO_REUSEADDR, as all of them do, can listen there, and the system gives them to nobody else."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind(("127.0.0.1", 0))
    _held.extend(sockets)
    return [each.getsockname()[1] for each in sockets]


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:
                continue
    return found


@dataclass(frozen=True, slots=True)
class _Times:
    ticks_s: float
    """User and system time, to 10 ms, with that of threads that ended."""
    reaped_s: float
    """The same of children that ended and were waited for."""
    threads_ns: Mapping[str, int]
    """Time on a core per living thread, to the nanosecond."""


class CpuMeter:
    """User and system time of a process tree since the meter was made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._start = _read_tree(pid)

    def seconds(self) -> float:
        total = 0.0
        for pid, now in _read_tree(self._pid).items():
            before = self._start.get(pid, _Times(0.0, 0.0, {}))
            total += now.reaped_s - before.reaped_s
            if before.threads_ns.keys() <= now.threads_ns.keys():
                total += (sum(now.threads_ns.values()) - sum(before.threads_ns.values())) / 1e9
            else:  # a thread ended: its nanoseconds went with it, its ticks did not
                total += now.ticks_s - before.ticks_s
        return total


def core_seconds(core: int) -> float:
    """Seconds since boot in which the core was not idle, whoever used it, the hypervisor's other guests too."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(field) for field in line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_S


def cpu_seconds(pid: int) -> float:
    """User and system time of a process tree since it began."""
    return sum(
        max(each.ticks_s, sum(each.threads_ns.values()) / 1e9) + each.reaped_s for each in _read_tree(pid).values()
    )


def _read_tree(pid: int) -> dict[int, _Times]:
    times = {}
    for each in tree(pid):
        try:
            times[each] = _read_times(each)
        except OSError:
            continue
    return times


def _read_times(pid: int) -> _Times:
    threads = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        threads[task] = int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, reaped_user, reaped_system = (int(field) * TICK_S for field in fields[11:15])
    return _Times(user + system, reaped_user + reaped_system, threads)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process tree: `rss` counts pages shared inside the tree once per process, `pss` once."""

    rss: int
    pss: int


def memory(pid: int) -> Memory:
    rss = pss = 0
    for each in tree(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        fields = {name: rest for name, _, rest in (line.partition(":") for line in lines)}
        rss += int(fields["Rss"].split()[0]) * 1024
        pss += int(fields["Pss"].split()[0]) * 1024
    return Memory(rss, pss)
