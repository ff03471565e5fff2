"""How many processes `workers: auto` means."""

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def allowed_cores(cgroup: Path = _CGROUP) -> int:
    """Cores by affinity, at most those that the cgroup's quota pays for; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    # A quota of 1.5 cores keeps a second worker half busy; two would take turns being throttled.
    return max(1, min(cores, math.floor(quota)) if quota else cores)


def _quota(cgroup: Path) -> float | None:
    """Cores by quota: cgroup v2, else v1; None without one."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not (limit.isdecimal() and period.isdecimal()) or not int(limit) or not int(period):
        return None
    return int(limit) / int(period)
