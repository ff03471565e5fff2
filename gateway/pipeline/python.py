"""Finds the users' Python: `package.module:name` or `/absolute/file.py:name`, imported once, at load.

A module is looked for as Python does (the config's directory is put on `sys.path` by who reads the config). A file
becomes a module of its own name, the same in every process, so that what it defines can be pickled by reference.
"""

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from gateway.pipeline.result import answering
from gateway.pipeline.settings import short_name

HANDLER: Final = "handler"
_OWN_FILES: Final = (__file__, importlib.__file__, importlib.util.__file__, "<frozen importlib")


class CodeError(Exception):
    """The users' Python cannot be used; the text says why and what to do, on one line."""


@dataclass(frozen=True, slots=True)
class Code:
    """Something of the users' that can be called."""

    run: str
    value: Any
    """What `run` names."""
    function: Callable[..., Any]
    """What is to be called: `value`, or a method of a plugin, or what makes an answer of what `value` returns."""
    is_async: bool
    """Whether calling it makes a coroutine (or an async generator), and so belongs on the loop."""
    label: str
    """`module:name`, for logs and metrics."""
    method: str = ""
    """on_request | on_response, of a plugin that is an object; HANDLER, of a plain `def` that makes its answer, too."""


@dataclass(frozen=True, slots=True)
class PluginCode:
    """The two sides of a plugin; at least one of them is there."""

    on_request: Code | None
    on_response: Code | None


_loaded: dict[str, Code] = {}
_plugins: dict[str, PluginCode] = {}


def load(run: str) -> Code:
    """What `run` names: a function, an application, any callable. The same for the same `run`. Raises CodeError."""
    code = _loaded.get(run)
    if code is None:
        value = find(run)
        if not callable(value):
            raise CodeError(f"{run}: {_name_of(run)} is not callable, it is of type {type(value).__name__}")
        code = _loaded[run] = Code(run, value, value, is_async(value), short_name(run))
    return code


def load_handler(run: str) -> Code:
    """A function that takes a Request; a plain `def` returns a Response then. Raises CodeError."""
    code = load(run)
    if inspect.isclass(code.value):
        raise CodeError(f"{run}: {_name_of(run)} is a class; a handler is a function that takes the request")
    _check_takes(code, ("the request",))
    return code if code.is_async else replace(code, function=answering(code.function), method=HANDLER)


def load_plugin(run: str) -> PluginCode:
    """A function that takes a Request; or a class (one instance is made, without arguments) or an object with
    `on_request(request)` and `on_response(request, response)`, or one of them. Raises CodeError.
    """
    plugin = _plugins.get(run)
    if plugin is None:
        value = find(run)
        if inspect.isclass(value):
            value = _instance(run, value)
        plugin = _plugins[run] = _plugin(run, value)
    return plugin


def is_async(function: Callable[..., Any]) -> bool:
    """Whether it is `async def` (also with `yield`), or an object whose `__call__` is."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return True
    called = type(function).__call__
    return inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)


def _instance(run: str, kind: type) -> Any:
    if not any(hasattr(kind, name) for name in ("on_request", "on_response")):
        raise CodeError(f"{run}: the class {_name_of(run)} has neither on_request nor on_response")
    try:
        return kind()
    except Exception as error:
        raise CodeError(f"{run}: {_name_of(run)}() failed: {_describe(error)}") from error


def _plugin(run: str, value: Any) -> PluginCode:
    asked, told = getattr(value, "on_request", None), getattr(value, "on_response", None)
    if asked is None and told is None:
        if not callable(value):
            raise CodeError(f"{run}: {_name_of(run)} is neither callable nor has it on_request or on_response")
        asked_code = Code(run, value, value, is_async(value), short_name(run))
        _check_takes(asked_code, ("the request",))
        return PluginCode(asked_code, None)
    return PluginCode(
        asked and _method(run, value, asked, "on_request", ("the request",)),
        told and _method(run, value, told, "on_response", ("the request", "the response")),
    )


def _method(run: str, value: Any, method: Any, name: str, takes: tuple[str, ...]) -> Code:
    if not callable(method):
        raise CodeError(f"{run}: {name} is not callable, it is of type {type(method).__name__}")
    code = Code(run, value, method, is_async(method), f"{short_name(run)}.{name}", name)
    _check_takes(code, takes)
    return code


def _check_takes(code: Code, takes: tuple[str, ...]) -> None:
    """Say at load what would fail with the first request: a function that cannot be called as it will be."""
    try:
        signature = inspect.signature(code.function)
    except (ValueError, TypeError):
        return
    try:
        signature.bind(*takes)
    except TypeError:
        name = code.method or _name_of(code.run)
        raise CodeError(
            f"{code.run}: {name}{signature} cannot be called with {' and '.join(takes)}, as it will be"
        ) from None


def look_in(directory: str) -> None:
    """Modules are looked for here first, then in the current directory: an interpreter of ours (-P) knows neither."""
    for each in (os.getcwd(), os.path.abspath(directory)):
        if each in sys.path:
            sys.path.remove(each)
        sys.path.insert(0, each)


# --- finding ---------------------------------------------------------------------------------------------------------


def find(run: str) -> Any:
    """What `run` names, whatever it is. Raises CodeError."""
    place, _, name = run.rpartition(":")
    if not place or not name:
        raise CodeError(f"{run!r} does not name a function: write package.module:name or file.py:name")
    module = _module(run, place)
    value: Any = module
    for part in name.split("."):
        owner = value
        try:
            value = getattr(owner, part)
        except AttributeError:
            raise CodeError(_no_such_name(run, place, owner, part)) from None
    return value


def _module(run: str, place: str) -> ModuleType:
    is_file = place.endswith(".py")
    name = know_file(place) if is_file else place
    if is_file and not Path(place).is_file():
        raise CodeError(f"{run}: there is no file {place}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not is_file and error.name is not None and f"{place}.".startswith(f"{error.name}."):
            raise CodeError(
                f"{run}: there is no module {error.name}; it is looked for in the directory of the config, "
                "and where Python finds modules (PYTHONPATH, installed packages)"
            ) from None
        raise CodeError(f"{run}: importing it failed: {_describe(error)}") from error
    except (Exception, SystemExit) as error:
        raise CodeError(f"{run}: importing it failed: {_describe(error)}") from error


def _no_such_name(run: str, place: str, owner: Any, part: str) -> str:
    names = [name for name in dir(owner) if not name.startswith("_") and not inspect.ismodule(getattr(owner, name))]
    close = get_close_matches(part, names, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    where = place.rpartition("/")[2] if inspect.ismodule(owner) else getattr(owner, "__name__", repr(owner))
    return f"{run}: {where} has no {part}{hint}"


def _name_of(run: str) -> str:
    return run.rpartition(":")[2]


def _describe(error: BaseException) -> str:
    """Its type, its text, and the line of the users' code that it comes from."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    text = " ".join(str(error).split())
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith(_OWN_FILES)]
    return f"{what} ({frames[-1].filename}:{frames[-1].lineno})" if frames else what


# --- files as modules ------------------------------------------------------------------------------------------------


class _Files(MetaPathFinder):
    """Imports files under the names that they were given, wherever such a name turns up (in a pickle, too)."""

    def __init__(self) -> None:
        self.paths: dict[str, str] = {}

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        known = self.paths.get(name)
        return None if known is None else importlib.util.spec_from_file_location(name, known)


_files: Final = _Files()


def know_file(path: str) -> str:
    """The name under which the file is imported, the same in every process.

    Its directory goes to the end of `sys.path`, so that it finds what lies beside it and hides nothing.
    """
    if _files not in sys.meta_path:
        sys.meta_path.append(_files)
    stem = "".join(letter if letter.isalnum() else "_" for letter in Path(path).stem)
    name = f"{stem}_{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    if name not in _files.paths:
        _files.paths[name] = path
        directory = str(Path(path).parent)
        if directory not in sys.path:
            sys.path.append(directory)
    return name


def known_files() -> tuple[str, ...]:
    """The files that this process knows as modules; another process is told with `know_file`."""
    return tuple(_files.paths.values())
