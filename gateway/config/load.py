"""A config file as frozen settings, or everything that is wrong with it."""

import gc
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from gateway.config.build import build
from gateway.config.check import Checked, check_listeners, check_reachable, check_tests, check_upstreams
from gateway.config.check_aggregate import check_aggregates
from gateway.config.check_code import check_code
from gateway.config.check_python import check_apps, check_executors, check_plugin_names
from gateway.config.check_queues import check_queues
from gateway.config.check_routes import check_routes
from gateway.config.check_tls import check_certificates
from gateway.config.imports import IMPORT_S, Codes
from gateway.config.lines import KeyPath, Map, Seq, Source
from gateway.config.model import Config
from gateway.config.model_base import below
from gateway.config.named_files import named_files
from gateway.config.problems import ConfigError, Problem
from gateway.config.read import Files
from gateway.config.redact import redact
from gateway.config.scalars import Variables
from gateway.config.settings import GatewaySettings
from gateway.config.sources import Sources
from gateway.config.wording import problems_of

_NAMED = ("upstreams", "executors", "queues")
"""Keys whose values fall one by one."""

__all__ = ["ConfigError", "Loaded", "load"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the file says. `warnings` are things that work but were hardly meant."""

    settings: GatewaySettings
    warnings: tuple[Problem, ...]
    codes: Codes
    """What the users' Python is; empty where it was not imported."""


def load(
    path: Path | str, *, environment: Mapping[str, str] | None = None, import_s: float | None = IMPORT_S
) -> Loaded:
    """Read, check and build. Raises ConfigError with all problems; nothing in a file makes it raise anything else.

    `import_s`: how long the import of a module may take, in a process of its own; None: the users' Python is not run.
    """
    # Everything that is made here stays; looking through it again and again is a fifth of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _load(Path(path), os.environ if environment is None else environment, import_s)
    finally:
        if collecting:
            gc.enable()


def _load(path: Path, environment: Mapping[str, str], import_s: float | None) -> Loaded:
    variables = Variables(environment)
    files = Files(variables)
    root, source = files.read(path)
    problems, warnings, sources = files.problems, files.warnings, files.sources
    if not root and problems:
        raise ConfigError(problems, sources)
    if root.get("watch") is True:
        sources = Sources.of(list(named_files(root, path.parent)), []).over(sources)
    checked = _validated(root, source, path.parent, problems)
    codes: Codes = {}
    if checked is not None:
        _check(checked, path.parent)
        if import_s is not None:
            codes = check_code(checked, path.parent, import_s)
        problems += checked.problems
        warnings += checked.warnings
    if problems or checked is None:
        raise ConfigError(_in_order(problems), sources)
    settings = build(checked.config, root, path.parent, str(path))
    shown = redact(root, variables.secrets)
    settings = replace(settings, hash=files.hash, redacted=shown, sources=sources)
    return Loaded(settings, tuple(_in_order(warnings)), codes)


def _validated(root: Map, source: Source, directory: Path, problems: list[Problem]) -> Checked | None:
    """The model of what is right in `root`; what is wrong is left out of it and added to `problems`."""
    given = {"directory": directory}
    if problems:
        root.setdefault("routes", Seq())  # they may stand where nothing could be read
    try:
        config = Config.model_validate(root, context=given)
        refused: set[KeyPath] = set()
    except ValidationError as error:
        known = {problem.place for problem in problems}
        problems += [problem for problem in problems_of(error, Config, root, source) if problem.place not in known]
        refused = {_unit(item["loc"]) for item in error.errors(include_url=False, include_input=False)}
        try:
            config = Config.model_validate(_without(root, refused), context=given)
        except ValidationError:
            return None
    return Checked(
        config,
        root,
        source,
        _kept("routes", root, refused),
        _kept("tests", root, refused),
        _names("upstreams", root),
        _names("executors", root),
        _names("queues", root),
        not problems,
    )


def _unit(path: KeyPath) -> KeyPath:
    """The part of the config that falls with a wrong value at `path`: one route, one upstream, else a whole key."""
    return path[:2] if path[0] in ("routes", "tests", *_NAMED) else path[:1]


def _names(key: str, root: Map) -> list[str]:
    named = root.get(key)
    return list(named) if isinstance(named, Map) else []


def _without(root: Map, refused: set[KeyPath]) -> dict[str, object]:
    kept: dict[str, object] = {key: value for key, value in root.items() if (key,) not in refused}
    for key in ("routes", "tests"):
        if key in kept and isinstance(root[key], Seq):
            kept[key] = [root[key][index] for index in _kept(key, root, refused)]
    for key in _NAMED:
        named = kept.get(key)
        if isinstance(named, Map):
            kept[key] = {name: value for name, value in named.items() if (key, name) not in refused}
    kept.setdefault("routes", [])
    return kept


def _kept(key: str, root: Map, refused: set[KeyPath]) -> list[int]:
    items = root.get(key)
    if not isinstance(items, Seq) or (key,) in refused:
        return []
    return [index for index in range(len(items)) if (key, index) not in refused]


def _check(checked: Checked, directory: Path) -> None:
    config = checked.config
    for upstream in config.upstreams.values():
        below(config.defaults.upstream, upstream)
    for route in config.routes:
        below(config.defaults.route, route)
    if not config.routes and checked.complete:
        checked.fault(("routes",), "a config needs routes", "such as routes: [{match: /*, to: orders}]")
    check_listeners(checked)
    check_reachable(checked)
    check_upstreams(checked)
    check_routes(checked)
    check_executors(checked)
    check_apps(checked)
    check_queues(checked)
    check_aggregates(checked)
    check_plugin_names(checked)
    check_tests(checked)
    check_certificates(checked, directory)


def _in_order(problems: list[Problem]) -> list[Problem]:
    """By file, in the order the files are first named, then by line."""
    files = {problem.place.source: index for index, problem in reversed(list(enumerate(problems)))}
    return sorted(problems, key=lambda problem: (files[problem.place.source], problem.line, problem.column))
