"""One door per dependency, and workers that stay small."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.laws.tree import ROOT, files, imports

ONE_FILE = ("orjson", "uvloop", "prometheus_client", "jmespath")
ONE_ROOM = {
    "pydantic": {"config"},
    "pydantic_core": {"config"},
    "ruamel": {"config"},
    "aiohttp": {"admin", "runtime", "demo"},
    "websockets": {"wire"},
}
HEAVY = ("pydantic", "ruamel", "aiohttp", "click", "rich", "prometheus_client")


def importers(package: str) -> set[Path]:
    return {
        path
        for path in files("gateway", ends=".py")
        if any(name.partition(".")[0] == package for name in imports(path))
    }


@pytest.mark.parametrize("package", ONE_FILE)
def test_imported_in_one_file(package: str) -> None:
    assert len(importers(package)) == 1, importers(package)


@pytest.mark.parametrize("package", ONE_ROOM)
def test_imported_in_one_room(package: str) -> None:
    assert {path.parts[1] for path in importers(package)} <= ONE_ROOM[package]


def test_a_worker_loads_nothing_heavy() -> None:
    program = "import sys, gateway.runtime.worker; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert "gateway.pipeline.handle" in loaded
    assert sorted({name.partition(".")[0] for name in loaded} & set(HEAVY)) == []
