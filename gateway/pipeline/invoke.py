"""One call of the users' Python, wherever it belongs: on the loop, in a thread, in another process."""

import asyncio
import logging
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from math import inf
from typing import Any, Final

from gateway.core.errors import GatewayError
from gateway.executors.executor import Executor
from gateway.pipeline.lane import Lane
from gateway.pipeline.python import Code
from gateway.pipeline.remote import adopt, call_packed, pack
from gateway.pipeline.result import refuse_coroutine

_log = logging.getLogger(__name__)
STUBBORN_S: Final = 1.0
"""For an `async def` to end when it is cancelled."""


class Late(Exception):
    """The time of an `async def` was up."""


async def invoke(
    code: Code,
    executor: Executor,
    arguments: tuple[Any, ...],
    deadline: float,
    lane: Lane,
    late: Callable[[], GatewayError],
) -> Any:
    """What the function returns. Raises what it raises; Late, WrongResult, or GatewayError of the executor.

    deadline: on the monotonic clock. What a process of an executor made of the arguments is made of them here, too.
    """
    if code.is_async:
        return await on_loop(code, arguments, deadline, lane, late)
    if executor.kind == "threads":
        result = await executor.call(code.function, *arguments, deadline=deadline, exchange=lane.call)
    else:
        packed = pack(code, *arguments)
        result, changed = await executor.call(call_packed, *packed, deadline=deadline, exchange=lane.call)
        for each, other in zip(arguments, changed, strict=True):
            adopt(each, other)
    refuse_coroutine(result)
    return result


async def on_loop(
    code: Code, arguments: tuple[Any, ...], deadline: float, lane: Lane, late: Callable[[], GatewayError]
) -> Any:
    """Await an `async def`. Timers are set only where it has to wait. Raises what it raises, and Late.

    Where it does not end in time though it is cancelled, the answer is `late()`.
    """
    made = code.function(*arguments)
    if hasattr(made, "__anext__"):
        return made
    try:
        waits_for = made.send(None)
    except StopIteration as done:
        return done.value
    except BaseException as error:
        raise _theirs(error) from error.__cause__
    left_s = deadline - lane.plan.now()
    if left_s == inf:
        return await shielded(_go_on(made, waits_for))
    loop = lane.plan.fetcher.loop
    deserted = loop.call_later(left_s + STUBBORN_S, _desert, code, lane, late)
    try:
        async with asyncio.timeout(left_s) as limit:
            return await shielded(_go_on(made, waits_for))
    except TimeoutError:
        if not limit.expired():
            raise
        raise Late from None
    finally:
        deserted.cancel()


def _desert(code: Code, lane: Lane, late: Callable[[], GatewayError]) -> None:
    """Answer for code that was cancelled and goes on even so."""
    _log.error("request %s: %s does not end when cancelled: it is left to itself", lane.call.request_id, code.label)
    lane.desert(late())


@types.coroutine
def _go_on(made: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    """Await a coroutine that was begun with `send`, and so waits for something already."""
    try:
        yield waits_for
    except BaseException as error:
        try:
            waits_for = made.throw(error)
        except StopIteration as done:
            return done.value
        return (yield from _go_on(made, waits_for))
    return (yield from made.__await__())


async def shielded(made: Awaitable[Any]) -> Any:
    """Await the users' code; what would end our task or the loop becomes an error of theirs."""
    try:
        return await made
    except BaseException as error:
        raise _theirs(error) from error.__cause__


def _theirs(error: BaseException) -> BaseException:
    """The error as it may go on: SystemExit would end the loop, and a CancelledError of theirs look like ours."""
    if isinstance(error, Exception):
        return error
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        return error
    carried = RuntimeError(f"the code raised {type(error).__name__}")
    carried.__cause__ = error
    return carried
