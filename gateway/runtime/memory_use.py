"""How much of the memory that this process may use is in use: of its control group, else of the machine."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class _Kind:
    """Where a version of control groups keeps what counts here."""

    root: str
    """Below the mount point of all."""
    limit: str
    used: str
    file_pages: tuple[str, ...]
    """Lines of `memory.stat`, those of the groups below included."""


_V2 = _Kind("", "memory.max", "memory.current", ("inactive_file", "active_file"))
_V1 = _Kind("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))


@dataclass(frozen=True, slots=True)
class _Group:
    """A control group with a limit (bytes)."""

    directory: Path
    kind: _Kind
    limit: int

    def share(self) -> float:
        """What would be left after all file pages were given back counts: those are taken back ahead of any kill."""
        used = int((self.directory / self.kind.used).read_text())
        stat = dict(line.split() for line in (self.directory / "memory.stat").read_text().splitlines())
        pages = sum(int(stat.get(name, 0)) for name in self.kind.file_pages)
        return max(0, used - pages) / self.limit


class MemoryUse:
    """Looks for limits once; where there is none, this process's own memory times `processes` of the machine's."""

    def __init__(self, processes: int = 1, *, root: Path = _ROOT, proc: Path = _PROC) -> None:
        self._processes = processes
        self._proc = proc
        self._total = _total(proc)
        self._groups = [group for group in _groups(root, proc) if not self._total or group.limit <= self._total]

    def share(self) -> float:
        """0 to 1; 0 where the system does not say. Some files are read: for twice a second, not for each request."""
        try:
            if self._groups:
                return max(group.share() for group in self._groups)
            resident = int((self._proc / "self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            return self._processes * resident / self._total if self._total else 0.0
        except (OSError, ValueError):
            return 0.0


def _groups(root: Path, proc: Path) -> Iterator[_Group]:
    """The groups of this process and those above them that have a limit; of v1 and v2, which may stand together.

    A container may see the path that its host knows, where nothing is: then the mount point is its own group.
    """
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, own = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        kind = _V1 if controllers else _V2
        top = root / kind.root
        directory = top / own.strip("/")
        while directory.is_relative_to(top):
            if limit := _number(directory / kind.limit):
                yield _Group(directory, kind, limit)
            directory = directory.parent


def _number(path: Path) -> int:
    """0 for `max`, and where there is no such file."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _total(proc: Path) -> int:
    """Bytes of the machine."""
    try:
        first = (proc / "meminfo").read_text().split()
    except OSError:
        return 0
    return int(first[1]) * 1024 if first[:1] == ["MemTotal:"] else 0
