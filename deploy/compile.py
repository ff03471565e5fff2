"""Build hook: the modules of the request path as machine code in the wheel, made by mypyc from the same sources.

Runs where HATCH_BUILD_HOOK_ENABLE_MYPYC=1 is set; every other build is pure Python and needs no compiler. The modules
stand in pyproject.toml. An editable install is never compiled: its sources are what runs.

Not hatch-mypyc, which black uses: it compiles in place and moves pyproject.toml away meanwhile. What it leaves beside
the sources would run instead of them from then on.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SWITCH = "HATCH_BUILD_HOOK_ENABLE_MYPYC"
COMPILER = ["mypy[mypyc]>=2.4", "setuptools>=65"]
LIBRARY = "floodgate"
"""One library, of one C file, holds all modules (`floodgate__mypyc`). Apart (`separate`) they cost 4 % more CPU for a
request and three times the size; -O2 and a file for each module (`multi_file`) differ by no more than the noise."""
C_FLAGS = ["-fvisibility=hidden"]
"""Calls inside the library are bound when it is built: a tenth less size, and 2 % less CPU for a request."""
LINK_FLAGS = ["-Wl,--strip-all"]


class CompiledModules(BuildHookInterface[Any]):
    """Hatch's custom hook."""

    def dependencies(self) -> list[str]:
        return COMPILER if _wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not _wanted() or version == "editable":
            return
        self._made = tempfile.TemporaryDirectory(prefix="floodgate-mypyc-")
        made = Path(self._made.name)
        compile_modules(Path(self.root), self.config["modules"], made)
        for library in made.rglob("*.so"):
            build_data["force_include"][str(library)] = str(library.relative_to(made))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if _wanted() and version != "editable":
            self._made.cleanup()


def _wanted() -> bool:
    return os.environ.get(SWITCH, "").lower() in ("1", "true")


def compile_modules(root: Path, modules: list[str], out: Path) -> None:
    """Put the libraries of `modules` (paths from `root`) into `out`, placed as in the package; none into `root`."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.errors import BaseError, CCompilerError

    missing = [module for module in modules if not (root / module).is_file()]
    if missing:
        raise SystemExit(f"pyproject.toml names modules to compile that do not exist: {', '.join(missing)}")
    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="floodgate-mypyc-") as scratch:
        os.chdir(root)  # mypyc takes the names of modules from their paths
        try:
            # No config file: tests/check is strict about the types, here only what decides the code counts.
            options = ["--config-file=", "--ignore-missing-imports", f"--cache-dir={scratch}/cache"]
            extensions = mypycify(
                [*options, *modules], opt_level="3", debug_level="0", group_name=LIBRARY, target_dir=f"{scratch}/c"
            )
            for extension in extensions:
                extension.extra_compile_args += C_FLAGS
                extension.extra_link_args += LINK_FLAGS
            command: Any = Distribution({"name": LIBRARY, "ext_modules": extensions}).get_command_obj("build_ext")
            command.build_lib, command.build_temp = str(out), f"{scratch}/o"
            command.ensure_finalized()
            command.run()
        except (BaseError, CCompilerError) as error:
            raise SystemExit(
                f"the C compiler failed: {error}. It needs a compiler and Python's headers (Debian: gcc, python3-dev);"
                f" without {SWITCH} the gateway installs as pure Python"
            ) from None
        finally:
            os.chdir(before)
