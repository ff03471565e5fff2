"""The checkout as the laws read it."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("gateway", "config", "tests", "deploy", ".ci")
ROOMS = (
    "core",
    "wire",
    "decide",
    "transport",
    "executors",
    "observe",
    "upstreams",
    "pipeline",
    "config",
    "admin",
    "runtime",
    "demo",
)


def files(*parts: str, ends: str = "") -> Iterator[Path]:
    """The product's own files under `parts`, relative to the root: no caches, no results of a run."""
    for part in parts:
        for path in sorted((ROOT / part).rglob("*")):
            relative = path.relative_to(ROOT)
            made = {"__pycache__", "results"} & set(relative.parts) or path.suffix == ".pyc"
            if path.is_file() and not made and path.name.endswith(ends):
                yield relative


def text(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(text(path))


def imports(path: Path) -> set[str]:
    """Dotted names of the modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found
