"""One call of the users' Python, wherever it belongs: on the loop, in a thread, in another process."""

import asyncio
import inspect
from collections.abc import Awaitable
from math import inf
from typing import Any

from gateway.executors.executor import Executor
from gateway.pipeline.lane import Lane
from gateway.pipeline.python import Code
from gateway.pipeline.remote import adopt, call_packed, pack, unpack


class Late(Exception):
    """The time of an `async def` was up."""


class WrongResult(Exception):
    """What was returned is of no use; the text says what it is, and what to return."""


async def invoke(code: Code, executor: Executor, arguments: tuple[Any, ...], deadline: float, lane: Lane) -> Any:
    """What the function returns. Raises what it raises; Late, WrongResult, or GatewayError of the executor.

    deadline: on the monotonic clock. What a process of an executor made of the arguments is made of them here, too.
    """
    if code.is_async:
        return await _on_loop(code, arguments, deadline - lane.plan.now())
    if executor.kind == "threads":
        result = await executor.call(code.function, *arguments, deadline=deadline, exchange=lane.call)
    else:
        packed = pack(code, *arguments)
        result, changed = unpack(await executor.call(call_packed, *packed, deadline=deadline, exchange=lane.call))
        for each, other in zip(arguments, changed, strict=True):
            adopt(each, other)
    if inspect.iscoroutine(result):
        result.close()
        raise WrongResult("a coroutine, but it is a plain def: make it `async def`")
    return result


async def shielded(made: Awaitable[Any]) -> Any:
    """Await the users' code; what would end our task or the loop becomes an error of theirs."""
    try:
        return await made
    except Exception:
        raise
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        raise RuntimeError(f"the code raised {type(error).__name__}") from error


async def _on_loop(code: Code, arguments: tuple[Any, ...], left_s: float) -> Any:
    made = code.function(*arguments)
    if hasattr(made, "__anext__"):
        return made
    if left_s == inf:
        return await shielded(made)
    try:
        async with asyncio.timeout(left_s) as limit:
            return await shielded(made)
    except TimeoutError:
        if not limit.expired():
            raise
        raise Late from None
