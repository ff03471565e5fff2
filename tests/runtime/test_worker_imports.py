"""What a worker carries: only what a request needs."""

import subprocess
import sys

HEAVY = ("pydantic", "ruamel", "aiohttp", "click", "rich", "prometheus_client")


def imported_of(names: tuple[str, ...], by: str) -> str:
    program = f"import sys, {by}; print(*[name for name in {names!r} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return shown.stdout.strip()


def test_a_worker_imports_nothing_of_the_control_plane() -> None:
    assert imported_of(HEAVY, "gateway.runtime.worker") == ""


def test_the_supervisor_does_not_import_what_reads_the_config() -> None:
    assert imported_of(("pydantic", "ruamel"), "gateway.runtime.commands, gateway.runtime.supervisor") == ""
