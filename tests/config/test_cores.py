"""`workers: auto`: cores by affinity and by the cgroup's quota."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.cores import allowed_cores
from gateway.config.load import Loaded

HERE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000", HERE),
        ("100000 100000", 1),
        ("150000 100000", 1),
        ("50000 100000", 1),
        ("200000 100000", min(2, HERE)),
        ("90000000 100000", HERE),
        ("nonsense", HERE),
        ("1 2 3", HERE),
        ("0 0", HERE),
    ],
)
def test_quota_of_cgroup_v2(limit: str, cores: int, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(limit + "\n")
    assert allowed_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", HERE), ("100000", 1), ("200000", min(2, HERE))])
def test_quota_of_cgroup_v1(quota: str, cores: int, tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert allowed_cores(tmp_path) == cores


def test_without_a_cgroup(tmp_path: Path) -> None:
    assert allowed_cores(tmp_path) == HERE


def test_auto_becomes_a_number(loaded: Callable[[str], Loaded]) -> None:
    assert loaded("workers: auto\nroutes: [{match: /, respond: 204}]").settings.workers == allowed_cores()
