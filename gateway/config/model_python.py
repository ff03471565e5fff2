"""Keys about the users' Python: executors, handlers, plugins, applications."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from gateway.config.model_base import UNSET, Model
from gateway.config.types import Duration, Name, Rule, fault, one_of, text, wrong_kind
from gateway.executors.settings import DEFAULT, ExecutorSettings
from gateway.pipeline.settings import CallableSettings, PluginSettings

_EXECUTOR = ExecutorSettings(DEFAULT)
_PLUGIN = PluginSettings("", CallableSettings(""))

_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*").fullmatch
_LABEL = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,98}[\x21-\x7e])?").fullmatch
_WANTED = "package.module:name or file.py:name"


def _run(value: Any, directory: Path) -> str:
    """`package.module:name` as it is, a file with its absolute path."""
    if not isinstance(value, str):
        raise wrong_kind(value, _WANTED, quotable=True)
    place, colon, name = value.rpartition(":")
    if not colon:
        raise _without_name(value)
    if name.endswith(")"):
        called = name.partition("(")[0]
        raise fault(
            f"{name[:80]} is a call", hint=f"name what is there: {place}:{called}, or a variable that holds its result"
        )
    if not _DOTTED(name):
        raise fault(f"{name[:80]!r} is not the name of anything in a module", hint=f"write {_WANTED}")
    if place.endswith(".py"):
        return f"{os.path.abspath(directory / place)}:{name}"
    if "/" in place:
        raise fault(f"{place[:80]!r} is neither a module nor a file", fix=f"{place}.py:{name}")
    if not _DOTTED(place):
        raise fault(f"{place[:80]!r} is not the name of a module", hint=f"write {_WANTED}")
    return value


def _without_name(value: str) -> Exception:
    """For a text without a colon."""
    module, dot, name = value.rpartition(".")
    if value.endswith(".py"):
        return fault("names a file and nothing in it", hint=f"such as {value[:80]}:handle")
    if dot and _DOTTED(module) and _DOTTED(name):
        return fault("what is in a module stands behind a colon", fix=f"{module}:{name}")
    return fault(f"{value[:80]!r} is not Python code to run", hint=f"write {_WANTED}")


def _label(name: str) -> str:
    if not _LABEL(name):
        raise ValueError("a plugin's name is 1 to 100 printable ASCII characters without blanks at its ends")
    return name


Run = Annotated[str, Rule(_run, {"type": "string", "examples": ["shop.price:quote", "price.py:quote"]})]
ExecutorName = Annotated[str, Rule(lambda value, _: _executor(value), {"type": "string", "examples": ["fraud"]})]


def _executor(value: Any) -> str:
    if not isinstance(value, str):
        raise wrong_kind(value, "the name of an executor")
    return value


class Executor(Model):
    """A bounded pool of threads or of processes."""

    wanted: ClassVar[str] = "a mapping with threads or processes"

    threads: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=UNSET, description="For Python that waits; started when needed, at most so many", examples=[8]
    )
    processes: Annotated[int, Field(ge=1, le=256)] = Field(
        default=UNSET, description="For Python that computes; each does one call at a time", examples=[2]
    )
    queue: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        default=_EXECUTOR.queue, description="Calls that may wait; one more is answered with 503 executor_full"
    )
    timeout: Duration = Field(
        default=_EXECUTOR.timeout_s, description="Of a call, waiting and running; then 504 executor_timeout"
    )
    abandoned: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        default=UNSET,
        description="Threads that may be lost to calls that never end; without it twice `threads`",
        examples=[16],
    )


class Handler(Model):
    """Python that answers."""

    wanted: ClassVar[str] = f"{_WANTED}, or a mapping with run"
    short_schema: ClassVar[dict[str, Any] | None] = {"type": "string", "examples": ["shop.price:quote"]}

    run: Run = Field(
        description="package.module:function, or file.py:function relative to the config", examples=["price.py:quote"]
    )
    executor: ExecutorName = Field(
        default="", description="Where a plain def runs; without it on `default`", examples=["scoring"]
    )
    timeout: Duration = Field(
        default=float(UNSET),
        description="Of one call; without it the executor's, for async def the route's",
        examples=["500ms"],
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"run": value} if isinstance(value, str) else value


class Plugin(Handler):
    """Python that is asked before the answer is made."""

    run: Run = Field(
        description="A function, or a class with on_request and on_response, as for handler",
        examples=["fraud.py:check"],
    )
    on_error: Annotated[str, one_of("deny", "allow")] = Field(
        default=_PLUGIN.on_error, description="What its exception or timeout means for the request: deny | allow"
    )
    name: Annotated[str, text(_label, "a name", "fraud")] = Field(
        default="", description="In logs and metrics; without it what `run` names", examples=["fraud"]
    )


class App(Model):
    """A whole application in process."""

    wanted: ClassVar[str] = "a mapping such as {wsgi: package.module:app} or {asgi: package.module:app}"

    wsgi: Run = Field(default="", description="A WSGI application (Flask, Django)", examples=["legacy.py:app"])
    asgi: Run = Field(default="", description="An ASGI application (FastAPI, Starlette)", examples=["api.py:app"])
    executor: ExecutorName = Field(
        default="", description="Of a WSGI application: threads; without it `default`", examples=["legacy"]
    )


Executors = dict[Name, Executor]
