"""One plugin of the users': how it is called, and what it means when it fails."""

import asyncio
import logging
from collections.abc import Callable
from math import inf
from typing import Any, Final, TypeVar

from gateway.core.errors import GatewayError
from gateway.core.message import FetchError, Response
from gateway.executors.executor import Executor
from gateway.observe.logs import OF_USERS
from gateway.observe.registry import Registry
from gateway.pipeline.invoke import Late, invoke
from gateway.pipeline.lane import Lane
from gateway.pipeline.python import Code, PluginCode
from gateway.pipeline.request import ClientRequest
from gateway.pipeline.result import WrongResult
from gateway.pipeline.settings import PluginSettings

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_KINDS: Final = {"path": str, "query": str, "params": dict, "state": dict}
"""What a plugin may set without being checked at once."""


class _Failed(Exception):
    """The plugin failed; `error` is the answer to that, where it is not allowed."""

    def __init__(self, error: GatewayError) -> None:
        super().__init__(str(error))
        self.error = error


class Plugin:
    """One plugin of a route, with its counts."""

    __slots__ = (
        "_allows",
        "_cells",
        "_duration",
        "_errors",
        "_on_request",
        "_on_response",
        "_timeout_s",
        "executor",
        "name",
    )

    def __init__(self, settings: PluginSettings, code: PluginCode, executor: Executor, registry: Registry) -> None:
        """executor: of a plain `def`, and of plain iterators in its answers."""
        self.name = settings.name
        self.executor = executor
        self._on_request = code.on_request
        self._on_response = code.on_response
        self._allows = settings.on_error == "allow"
        self._timeout_s = inf if settings.call.timeout_s is None else settings.call.timeout_s
        self._cells = registry.cells
        self._duration = registry.histogram("gateway_plugin_duration_seconds", plugin=self.name)
        self._errors = registry.counter("gateway_plugin_errors_total", plugin=self.name)

    @property
    def asks(self) -> bool:
        """Whether it wants to see requests."""
        return self._on_request is not None

    @property
    def tells(self) -> bool:
        """Whether it wants to see answers."""
        return self._on_response is not None

    async def ask(self, lane: Lane) -> Response | None:
        """Its answer; None: go on. A failure that is allowed leaves no trace in the request. Raises GatewayError."""
        assert self._on_request is not None
        request = lane.request
        before = copy_request(request) if self._allows else None

        def checked(result: Any) -> Response | None:
            _check_request(request)
            return _checked_answer(result)

        try:
            return await self._call(lane, self._on_request, (request,), lane.deadline, checked)
        except _Failed as failed:
            if before is None:
                raise failed.error from None
            lane.request = before
            return None

    async def tell(self, lane: Lane, response: Response) -> Response:
        """The answer as the plugin left it, or the one that it returned. Raises GatewayError."""
        assert self._on_response is not None
        body = response.body
        assert body is None or isinstance(body, bytes)
        before = Response.of_checked(response.status, response.headers.copy(), body)
        deadline = lane.plan.now() + lane.plan.timeout_s

        def checked(result: Any) -> Response:
            if isinstance(result, Response) and result is not response:
                _take_over(response, result)
            elif result is not None and result is not response:
                raise WrongResult(f"{type(result).__name__}: return None, or a Response")
            return _checked_change(response, before)

        try:
            return await self._call(lane, self._on_response, (lane.request, response), deadline, checked)
        except _Failed as failed:
            if not self._allows:
                raise failed.error from None
            return before

    async def _call(
        self, lane: Lane, code: Code, arguments: tuple[Any, ...], deadline: float, check: Callable[[Any], _T]
    ) -> _T:
        """Raises _Failed; GatewayError bad_request as `request.json()` does, which is the client's fault."""
        now = lane.plan.now
        began = now()
        due = began + self._timeout_s
        try:
            return check(await invoke(code, self.executor, arguments, min(due, deadline), lane, _late))
        except asyncio.CancelledError:
            raise
        except GatewayError as error:
            if error.reason.name == "bad_request":
                raise
            ours = due <= deadline and self._timeout_s <= self.executor.settings.timeout_s
            late = ours and error.reason.name == "executor_timeout"
            raise self._failed(lane, _late() if late else error) from None
        except Late:
            raise self._failed(lane, _late()) from None
        except FetchError as fetch:
            raise self._failed(lane, GatewayError(fetch.reason, fetch.detail)) from None
        except WrongResult as error:
            _log.error("request %s: plugin %s returned %s", lane.call.request_id, self.name, error)
            self._cells[self._errors] += 1.0
            raise _Failed(_error()) from None
        except Exception:
            _log.exception("request %s: plugin %s failed", lane.call.request_id, self.name, extra={OF_USERS: True})
            self._cells[self._errors] += 1.0
            raise _Failed(_error()) from None
        finally:
            self._note(lane, now() - began)

    def _failed(self, lane: Lane, error: GatewayError) -> _Failed:
        _log.warning("request %s: plugin %s: %s", lane.call.request_id, self.name, error)
        self._cells[self._errors] += 1.0
        return _Failed(error)

    def _note(self, lane: Lane, taken_s: float) -> None:
        """Into the metrics and the log."""
        self._duration.observe(taken_s)
        lane.spent(taken_s)
        times = lane.call.plugins
        if times is None:
            times = lane.call.plugins = {}
        times[self.name] = int((times.get(self.name, 0.0) + taken_s * 1e3) * 1e3) / 1e3

    def __repr__(self) -> str:
        return f"<Plugin {self.name} errors={self._cells[self._errors]:.0f}>"


def copy_request(request: ClientRequest) -> ClientRequest:
    """As it is now, whatever becomes of the other."""
    again = ClientRequest.__new__(ClientRequest)
    again.__dict__.update(request.__dict__)
    again.headers = request.headers.copy()
    again.state = dict(request.state)
    return again


def _error() -> GatewayError:
    return GatewayError("plugin_error", "a plugin failed; the gateway's log says more")


def _check_request(request: ClientRequest) -> None:
    """Raises WrongResult where a plugin set what no request has."""
    for name, kind in _KINDS.items():
        value = getattr(request, name)
        if not isinstance(value, kind):
            raise WrongResult(f"with request.{name} = {value!r:.80}: it is of type {kind.__name__}")


def _checked_answer(result: Any) -> Response | None:
    if result is not None and not isinstance(result, Response):
        raise WrongResult(f"{type(result).__name__}: return None to let the request pass, or a Response")
    return result


def _take_over(response: Response, other: Response) -> None:
    """Make it the other answer, which the plugin may keep for further requests."""
    response.status, response.headers, response.body = other.status, other.headers.copy(), other.body


def _checked_change(response: Response, before: Response) -> Response:
    """What may be made of an answer. Raises WrongResult."""
    if before.body is None:
        if response.body is not None and response.body != b"":
            raise WrongResult(
                "a body in the place of one that streams: on_response can change its status and headers only"
            )
        if response.status != before.status and response.status in (204, 304):
            raise WrongResult(f"the status {response.status}, which has no body, for an answer whose body streams")
        response.body = None
    elif isinstance(response.body, str):
        response.body = response.body.encode()
    elif not isinstance(response.body, bytes):
        raise WrongResult(f"a body of {type(response.body).__name__}: on_response can set bytes or str")
    return response


def _late() -> GatewayError:
    return GatewayError("plugin_timeout", "a plugin took too long")
