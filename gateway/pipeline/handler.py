"""A route answered by the users' Python: a function that takes the Request and returns the answer."""

import asyncio
import logging
from math import inf

from gateway.core.errors import GatewayError
from gateway.core.message import FetchError
from gateway.executors.executor import Executor
from gateway.observe.logs import OF_USERS
from gateway.pipeline.invoke import Late, invoke, on_loop
from gateway.pipeline.lane import Lane, TaskAnswer
from gateway.pipeline.python import Code
from gateway.pipeline.result import WrongResult, response_of
from gateway.pipeline.stream import send

_log = logging.getLogger(__name__)


class Handler(TaskAnswer):
    """Calls a plain `def` on its executor, awaits an `async def` on the loop, and sends what it returns.

    A Response, dict or list (JSON), str, bytes, None (204 No Content), what was fetched, or an iterator of bytes.
    """

    __slots__ = ("_code", "_executor", "_timeout_s")

    def __init__(self, code: Code, executor: Executor, timeout_s: float | None) -> None:
        """executor: of a plain `def`, and of plain iterators; timeout_s: of the call, within the route's own."""
        self._code = code
        self._executor = executor
        self._timeout_s = inf if timeout_s is None else timeout_s

    async def run(self, lane: Lane) -> None:
        """Raises GatewayError: handler_error, or what the executor or `request.json()` say; FetchError."""
        call, now = lane.call, lane.plan.now
        call.source = "handler"
        if not lane.is_collected:
            await lane.collect()
        began = now()
        limit_s = min(self._timeout_s, lane.plan.timeout_s)
        deadline = min(lane.deadline, began + self._timeout_s)
        try:
            if self._code.is_async:
                result = await on_loop(self._code, (lane.request,), deadline, lane, _late)
            else:
                result = await invoke(self._code, self._executor, (lane.request,), deadline, lane, _late)
            response = response_of(result)
        except (asyncio.CancelledError, GatewayError, FetchError):
            raise
        except Late:
            _log.warning("request %s: %s took longer than %gs", call.request_id, self._code.label, limit_s)
            raise _late() from None
        except WrongResult as error:
            _log.error("request %s: %s returned %s", call.request_id, self._code.label, error)
            raise _failed() from None
        except Exception:
            _log.exception("request %s: %s failed", call.request_id, self._code.label, extra={OF_USERS: True})
            raise _failed() from None
        finally:
            lane.spent(now() - began)
        await send(lane, response, self._executor, self._code.label)

    def __repr__(self) -> str:
        return f"<Handler {self._code.label}>"


def _failed() -> GatewayError:
    return GatewayError("handler_error", "the handler failed; the gateway's log says more")


def _late() -> GatewayError:
    return GatewayError("handler_error", "the handler took too long", status=504)
