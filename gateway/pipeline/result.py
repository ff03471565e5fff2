"""What a handler of the users' returned, as the answer that it means."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final

from gateway.core.json import dumps
from gateway.core.message import Fetched, Headers, Response

_JSON: Final = (("content-type", "application/json"),)


class WrongResult(Exception):
    """What was returned is of no use; the text says what it is, and what to return."""


def answering(function: Callable[..., Any]) -> Callable[..., Response]:
    """The handler with its answer made where it runs: JSON of much data would hold up the loop."""

    @functools.wraps(function)
    def answer(request: Any) -> Response:
        return response_of(function(request))

    return answer


def response_of(result: Any) -> Response:
    """The answer that a handler means by what it returned. Raises WrongResult."""
    if isinstance(result, Response):
        return result
    if isinstance(result, (dict, list)):
        try:
            return Response.of_checked(200, Headers.of_checked(_JSON), dumps(result))
        except TypeError as error:
            raise WrongResult(f"what is no JSON: {error}") from None
    if result is None:
        return Response(status=204)
    if isinstance(result, (str, bytes)) or hasattr(result, "__anext__") or hasattr(result, "__next__"):
        return Response(result)
    if isinstance(result, Fetched):
        return _passed_on(result)
    refuse_coroutine(result)
    raise WrongResult(f"{type(result).__name__}: return a Response, dict or list (JSON), str, bytes, or None (204)")


def refuse_coroutine(result: Any) -> None:
    """Raises WrongResult where a plain def should have been an `async def`."""
    if inspect.iscoroutine(result):
        result.close()
        raise WrongResult("a coroutine, but it is a plain def: make it `async def`")


def _passed_on(fetched: Fetched) -> Response:
    """What an upstream answered, without the fields that were for us alone (RFC 9110 section 7.6.1)."""
    headers = fetched.headers.copy()
    for name in (headers.get("connection") or "").split(","):
        headers.pop(name.strip())
    return Response.of_checked(fetched.status, headers, fetched.body)
