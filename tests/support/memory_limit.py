"""A limit on the memory of a process that runs: of its cgroup where that may be made, else on its address space."""

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CGROUPS = (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"))
"""Version 1 and 2. What a process has is not counted in a group that it moves to, only what it takes from then on."""


@contextmanager
def memory_limited(pid: int, room: int) -> Iterator[None]:
    """While it lasts, the process may take `room` bytes more; beyond them the system kills it, or gives it none."""
    group = _group(room)
    if group is None:
        limit = _virtual(pid) + room
        before = resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        yield
        resource.prlimit(pid, resource.RLIMIT_AS, before)
        return
    try:
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        with suppress(ProcessLookupError):
            (group.parent / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def _group(room: int) -> Path | None:
    for base, limit in _CGROUPS:
        group = Path(base, f"floodgate-{room}")
        try:
            group.mkdir(exist_ok=True)
            (group / limit).write_text(str(room))
        except OSError:
            if group.exists():
                group.rmdir()
            continue
        return group
    return None


def _virtual(pid: int) -> int:
    found = re.search(r"VmSize:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
