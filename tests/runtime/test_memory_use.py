"""How much memory is in use, read from files as Linux writes them."""

from pathlib import Path

import pytest

from gateway.runtime.memory_use import MemoryUse

MIB = 1024 * 1024


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Of a process of 100 pages in the group /web/gateway, on a machine of 100 MiB."""
    directory = tmp_path / "proc"
    (directory / "self").mkdir(parents=True)
    (directory / "self/cgroup").write_text("1:name=systemd:/x\n0::/web/gateway\n")
    (directory / "self/statm").write_text("4000 2560 30 1 0 20 0\n")
    (directory / "meminfo").write_text("MemTotal:         102400 kB\nMemFree:  1 kB\n")
    return directory


def group(directory: Path, limit: str, used: int, file_pages: int = 0) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "memory.max").write_text(f"{limit}\n")
    (directory / "memory.current").write_text(f"{used}\n")
    (directory / "memory.stat").write_text(f"anon 1\ninactive_file {file_pages}\nactive_file {file_pages}\nshmem 0\n")


def test_the_limit_of_its_group_counts_without_file_pages(tmp_path: Path, proc: Path) -> None:
    group(tmp_path / "cgroup/web/gateway", str(100 * MIB), 90 * MIB, file_pages=20 * MIB)
    assert MemoryUse(root=tmp_path / "cgroup", proc=proc).share() == 0.5


def test_a_tighter_limit_above_it_counts(tmp_path: Path, proc: Path) -> None:
    group(tmp_path / "cgroup/web/gateway", str(100 * MIB), 10 * MIB)
    group(tmp_path / "cgroup/web", str(40 * MIB), 36 * MIB)
    assert MemoryUse(root=tmp_path / "cgroup", proc=proc).share() == 0.9


def group_v1(directory: Path, limit: int, used: int, file_pages: int = 0) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (directory / "memory.usage_in_bytes").write_text(f"{used}\n")
    lines = f"inactive_file 0\nactive_file 0\ntotal_inactive_file {file_pages}\ntotal_active_file {file_pages}\n"
    (directory / "memory.stat").write_text(lines)


@pytest.mark.parametrize("where", ["memory/web/gateway", "memory"], ids=["own path", "in a container"])
def test_groups_of_version_1(where: str, tmp_path: Path, proc: Path) -> None:
    (proc / "self/cgroup").write_text("5:cpu,cpuacct:/web/gateway\n4:memory:/web/gateway\n0::/web/gateway\n")
    group_v1(tmp_path / "cgroup" / where, 80 * MIB, 60 * MIB, file_pages=10 * MIB)
    assert MemoryUse(root=tmp_path / "cgroup", proc=proc).share() == 0.5


def test_a_limit_above_the_memory_of_the_machine_is_none(tmp_path: Path, proc: Path) -> None:
    (proc / "self/cgroup").write_text("4:memory:/\n")
    group_v1(tmp_path / "cgroup/memory", 9223372036854771712, 90 * MIB)
    assert MemoryUse(root=tmp_path / "cgroup", proc=proc).share() == pytest.approx(0.1)


@pytest.mark.parametrize(("processes", "share"), [(1, 0.1), (4, 0.4)])
def test_without_a_limit_its_own_part_of_the_machine_counts(
    processes: int, share: float, tmp_path: Path, proc: Path
) -> None:
    group(tmp_path / "cgroup/web/gateway", "max", 90 * MIB)
    assert MemoryUse(processes, root=tmp_path / "cgroup", proc=proc).share() == pytest.approx(share)


def test_where_nothing_is_told_nothing_is_in_use(tmp_path: Path) -> None:
    assert MemoryUse(root=tmp_path / "none", proc=tmp_path / "none").share() == 0.0


def test_a_group_that_goes_away_ends_in_no_error(tmp_path: Path, proc: Path) -> None:
    group(tmp_path / "cgroup/web/gateway", str(100 * MIB), 90 * MIB)
    use = MemoryUse(root=tmp_path / "cgroup", proc=proc)
    (tmp_path / "cgroup/web/gateway/memory.current").unlink()
    assert use.share() == 0.0


def test_it_reads_this_process() -> None:
    assert 0.0 < MemoryUse().share() < 1.0
