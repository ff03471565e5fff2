"""CPU, memory and descriptors of the gateway's processes, from /proc."""

import os
from dataclasses import dataclass, field

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class _Cpu:
    """CPU seconds of one place in the gateway, over all processes that held it."""

    process: tuple[int, int] = (0, 0)
    """Pid and start time: a pid alone may come again."""
    now_s: float = 0.0
    before_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ProcessStats:
    """What /proc says; cpu_s includes the predecessors in the same place, so it never goes backwards."""

    cpu_s: float
    resident_bytes: int | None
    open_fds: int | None


@dataclass(slots=True)
class ProcessMeter:
    _cpu: dict[str, _Cpu] = field(default_factory=dict)

    def read(self, place: str, pid: int) -> ProcessStats:
        """Stats of `pid`, which now holds `place` (`supervisor`, `0`, `1`, ...); pid 0: nobody does."""
        cpu = self._cpu.setdefault(place, _Cpu())
        try:
            started, cpu_s = _times(pid)
            if cpu.process != (pid, started):
                cpu.before_s += cpu.now_s
                cpu.process = (pid, started)
            cpu.now_s = cpu_s
            return ProcessStats(cpu.before_s + cpu.now_s, _resident_bytes(pid), _open_fds(pid))
        except OSError:  # it ended
            return ProcessStats(cpu.before_s + cpu.now_s, None, None)


def _times(pid: int) -> tuple[int, float]:
    """Start time in ticks since boot, and CPU seconds."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()  # the name before it may hold anything
    return int(fields[19]), (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES


def _open_fds(pid: int) -> int:
    path = f"/proc/{pid}/fd"
    return os.stat(path).st_size or len(os.listdir(path))  # Linux 6.2 and later keep the count as the size
