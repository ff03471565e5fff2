"""WSGI applications that no framework stands before: good and bad ones, by their path."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
closed: list[str] = []


class Closing:
    """Tells when it is closed."""

    def __init__(self, path: str, pieces: Iterable[bytes]) -> None:
        self._path = path
        self._pieces = iter(pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        closed.append(self._path)


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    answer = ANSWERS.get(path, environment)(environ, start_response)
    return answer if isinstance(answer, list) else Closing(path, answer)


def environment(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    shown = {key: value for key, value in environ.items() if isinstance(value, str)}
    return [json.dumps({**shown, "body": environ["wsgi.input"].read().decode("latin-1")}).encode()]


def tell_closed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [json.dumps(closed).encode()]


def broken_off(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"so far "
    time.sleep(0.1)  # so that this much is under way
    raise LookupError("a secret detail")


def too_short(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "10")])
    return [b"short"]


def too_long(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "4")])
    return [b"too long"]


def no_content(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [("X-Kept", "1")])
    return iter(())


def hop_by_hop(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    names = ("Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "X-Request-Id", "Date")
    start_response("200 OK", [*((name, "mine") for name in names), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    return [b"x"]


def writes(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", [])
    for _ in range(64):
        write(bytes(65536))
    return [b"end"]


def complains(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ["wsgi.errors"].write("something is odd\nand it does not")
    start_response("200 OK", [])
    return []


def exits(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    sys.exit("no more")


ANSWERS: dict[str, Callable[[Environ, StartResponse], Iterable[bytes]]] = {
    "/closed": tell_closed,
    "/broken-off": broken_off,
    "/too-short": too_short,
    "/too-long": too_long,
    "/no-content": no_content,
    "/hop-by-hop": hop_by_hop,
    "/writes": writes,
    "/complains": complains,
    "/exits": exits,
}


@validator
def checked(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Fails where the server breaks PEP 3333 in a way that wsgiref can see."""
    body = environ["wsgi.input"].read(100)
    environ["wsgi.errors"].writelines(["checked\n"])
    environ["wsgi.errors"].flush()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body, b" checked"]
