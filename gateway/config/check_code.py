"""The users' Python is there and is what the config takes it for: imported in a child process, never in this one."""

import sys
from pathlib import Path

from gateway.config.check import Checked
from gateway.config.check_python import Use, uses
from gateway.config.imports import Codes, Wanted, import_all


def check_code(checked: Checked, directory: Path, limit_s: float) -> Codes:
    """What was found; each fault is told once, where the name stands first. `limit_s` for each import."""
    found = list(uses(checked))
    if not found:
        return {}
    codes, faults = import_all((_wanted(use) for use in found), directory, limit_s=limit_s)
    for use in found:
        fault = faults.pop(_wanted(use), None)
        if fault:
            checked.fault(use.named_at, fault, _hint(fault))
        code = codes.get(_wanted(use))
        if code and code.is_async and use.executor and use.kind != "asgi":
            name = use.run.rpartition(":")[2]
            fault = f"{name} is `async def` ({code.place}): it runs on the event loop, never on an executor"
            checked.fault((*use.path, "executor"), fault, "remove the key, or write a plain `def`")
    return codes


def _wanted(use: Use) -> Wanted:
    return Wanted(use.run, use.kind)


def _hint(fault: str) -> str:
    if "ModuleNotFoundError: " in fault:
        return f"install it for the Python of the gateway, {sys.executable}"
    if "SystemExit" in fault or "ends the process" in fault:
        return 'a module that is imported must not end; put what ends it under `if __name__ == "__main__":`'
    if "takes longer than" in fault or "does not end within" in fault:
        return "a module that is imported must come to its end; connect and wait in the function instead"
    return ""
