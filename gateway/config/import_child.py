"""The process that imports the users' Python for `imports.py`: one line of JSON in, one for each name out.

What the imported modules write, read or close is not what we talk over: both ends move away before the first import.
"""

import inspect
import json
import os
import sys
import sysconfig
import threading
from collections.abc import Callable
from typing import IO, Any

from gateway.pipeline.python import Code, CodeError, PluginCode, load, load_handler, load_plugin, look_in

_OURS = (os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep, "<frozen ")
_STANDARD = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib"))


def main() -> None:
    asks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    asked = json.loads(asks.readline())
    threading.Thread(target=_end_with, args=(asks,), daemon=True).start()
    look_in(asked["directory"])
    for run, kind in asked["wanted"]:
        watch = threading.Timer(asked["limit_s"], _give_up, (run, asked["limit_s"], threading.get_ident(), answers))
        watch.daemon = True
        watch.start()
        told = _told(run, kind)
        watch.cancel()
        _tell(answers, told)
    os._exit(0)  # threads and exit handlers of the modules are not waited for


def _end_with(asks: IO[bytes]) -> None:
    """End when who asked does."""
    asks.read()
    os._exit(1)


def _tell(answers: IO[bytes], told: dict[str, Any]) -> None:
    answers.write(json.dumps(told).encode() + b"\n")
    answers.flush()


def _told(run: str, kind: str) -> dict[str, Any]:
    try:
        return _KINDS[kind](run)
    except CodeError as error:
        return {"fault": str(error)}
    except BaseException as error:
        return {"fault": f"{run}: importing it failed: {type(error).__name__}: {error}"}


def _handler(run: str) -> dict[str, Any]:
    code = load_handler(run)
    return _facts(code.is_async, _what(code), code.value)


def _plugin(run: str) -> dict[str, Any]:
    plugin = load_plugin(run)
    sides = [code for code in (plugin.on_request, plugin.on_response) if code]
    what = ", ".join(f"{code.method}: {_what(code)}" if code.method else _what(code) for code in sides)
    return _facts(all(code.is_async for code in sides), what, _defined(plugin))


def _defined(plugin: PluginCode) -> Any:
    code = plugin.on_request or plugin.on_response
    assert code
    return type(code.value) if code.method and not inspect.isclass(code.value) else code.value


def _wsgi(run: str) -> dict[str, Any]:
    code = load(run)
    if code.is_async:
        raise CodeError(f"{run}: its call is async, so this is an ASGI application; write `asgi:`")
    _check_call(code, 2, "(environ, start_response)")
    return _facts(False, "WSGI application", code.value)


def _asgi(run: str) -> dict[str, Any]:
    code = load(run)
    _check_call(code, 3, "(scope, receive, send)")
    return _facts(True, "ASGI application", code.value)


def _check_call(code: Code, count: int, takes: str) -> None:
    """A factory, or an application of the other kind, is told before its first request."""
    if _fits(code, count):
        return
    if _fits(code, 2):
        raise CodeError(f"{code.run}: it is called with (environ, start_response): a WSGI application; write `wsgi:`")
    if _fits(code, 3):
        raise CodeError(f"{code.run}: it is called with (scope, receive, send): an ASGI application; write `asgi:`")
    name = code.run.rpartition(":")[2]
    hint = f"; if it makes the application, write app = {name}() in the module, and name app" if _fits(code, 0) else ""
    raise CodeError(f"{code.run}: {name} cannot be called with {takes}, so it is no such application{hint}")


def _fits(code: Code, count: int) -> bool:
    try:
        inspect.signature(code.function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return True
    return True


_KINDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "handler": _handler,
    "plugin": _plugin,
    "wsgi": _wsgi,
    "asgi": _asgi,
}


def _what(code: Code) -> str:
    return "async def" if code.is_async else "def"


def _facts(is_async: bool, what: str, value: Any) -> dict[str, Any]:
    return {"is_async": is_async, "what": what, "place": _place(value)}


def _place(value: Any) -> str:
    """`file:line` where it is defined; empty where nobody can know."""
    try:
        value = inspect.unwrap(value)
        file = inspect.getsourcefile(value)
        return f"{file}:{inspect.getsourcelines(value)[1]}" if file else ""
    except (TypeError, OSError, ValueError):
        return ""


def _give_up(run: str, limit_s: float, thread: int, answers: IO[bytes]) -> None:
    """Say where the import stands, and end."""
    frame = sys._current_frames().get(thread)
    places = []
    while frame:
        places.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    own = [place for place in places if not place.startswith(_OURS)]
    users = [place for place in own if not place.startswith(_STANDARD)] or own
    where = f"; it stands at {users[0]}" if users else ""
    _tell(answers, {"fault": f"{run}: importing it takes longer than {limit_s:g} s{where}", "last": True})
    os._exit(1)


if __name__ == "__main__":
    main()
