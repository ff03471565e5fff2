"""What a process of an executor runs: the users' Python by its name, with what is pickled for it.

Arguments cross as a pickle in a pickle, because the files of the users must be known as modules before anything of
theirs can be unpickled.
"""

import pickle
from collections.abc import Callable, Iterable
from typing import Any

from gateway.core.message import Request, Response
from gateway.pipeline.python import HANDLER, Code, know_file, known_files, load, load_plugin
from gateway.pipeline.result import answering

Packed = tuple[str, str, tuple[str, ...], bytes]
"""What to run, which method of it, the files that are modules, and the pickled arguments."""


def pack(code: Code, *arguments: Any) -> Packed:
    """The arguments of `call_packed`. Raises what pickling raises."""
    return code.run, code.method, known_files(), pickle.dumps(arguments)


def call_packed(run: str, method: str, files: tuple[str, ...], data: bytes) -> tuple[Any, tuple[Any, ...]]:
    """Call it: what it returned and its arguments as it left them. Bodies that it left alone stay here."""
    function = prepare(run, method, files)
    arguments = pickle.loads(data)
    bodies = [each._body if isinstance(each, Request) else None for each in arguments]
    result = _whole(function(*arguments))
    for each, body in zip(arguments, bodies, strict=True):
        if isinstance(each, Request) and each._body is body:
            each._body = None
    return result, arguments


def adopt(here: Request | Response, changed: Request | Response) -> None:
    """Make of a request (or response) what a process made of its copy."""
    here.headers = changed.headers
    if isinstance(here, Response) and isinstance(changed, Response):
        here.status, here.body = changed.status, changed.body
    elif isinstance(here, Request) and isinstance(changed, Request):
        here.path, here.query, here.state = changed.path, changed.query, changed.state
        if changed.has_body:
            here.body = changed.body


def prepare(run: str, method: str, files: tuple[str, ...]) -> Callable[..., Any]:
    """Import it, once in this process. Raises CodeError."""
    for file in files:
        know_file(file)
    if not method:
        return load(run).function
    if method == HANDLER:
        return answering(load(run).function)
    plugin = load_plugin(run)
    code = plugin.on_request if method == "on_request" else plugin.on_response
    assert code is not None
    return code.function


def _whole(result: Any) -> Any:
    """Pieces cannot cross: they are joined here."""
    if isinstance(result, Response):
        if result.body is not None and not isinstance(result.body, (bytes, str)):
            result.body = _joined(result.body)
    elif hasattr(result, "__next__") or hasattr(result, "__anext__"):
        return Response(_joined(result))
    return result


def _joined(pieces: Any) -> bytes:
    if not isinstance(pieces, Iterable):
        raise TypeError("an async iterator can be no body in an executor of processes: use `async def`, or bytes")
    return b"".join(pieces)
