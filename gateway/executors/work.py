"""One call on an executor, from the queue to its end."""

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextvars import copy_context
from pathlib import Path
from types import CodeType
from typing import Any

from gateway.core.clock import monotonic


class Work:
    """A call with the context that it was asked in, and the future that it ends.

    Its fields belong to the thread that runs it until the future is done; `late` belongs to the loop.
    """

    __slots__ = ("_arguments", "_context", "begun_at", "ended_at", "function", "future", "late", "unbounded")

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], *, unbounded: bool = False) -> None:
        """unbounded: part of something that was let in before, so that a full queue does not refuse it."""
        self.function = function
        self.unbounded = unbounded
        self.late = False
        """Its time was up before it ended."""
        self.begun_at = 0.0
        self.ended_at = 0.0
        self.future: Future[Any] = Future()
        self._arguments = arguments
        self._context = copy_context()

    def __call__(self) -> None:
        """Run, unless it was cancelled. Raises nothing: what the function raises is the future's."""
        if not self.future.set_running_or_notify_cancel():
            return
        self.begun_at = monotonic()
        try:
            result = self._context.run(self.function, *self._arguments)
        except BaseException as error:
            self.ended_at = monotonic()
            self.future.set_exception(_carried(error))
        else:
            self.ended_at = monotonic()
            self.future.set_result(result)

    def __repr__(self) -> str:
        state = "ended" if self.ended_at else "running" if self.begun_at else "waiting"
        return f"<Work {label_of(self.function)} {state}>"


def _carried(error: BaseException) -> BaseException:
    """An error that a future can hold and a task can raise.

    SystemExit would end the loop, a StopIteration never reach it, and a CancelledError be taken for ours.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration | CancelledError):
        return error
    carried = RuntimeError(f"the code raised {type(error).__name__}{error.args or ''}")
    carried.__cause__ = error
    return carried


def label_of(function: object) -> str:
    """`module:name` of a function, or of the one that it wraps."""
    function = getattr(function, "__wrapped__", function)
    module = getattr(function, "__module__", None) or "?"
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType):
        return name_of(module, code)
    return f"{module}:{getattr(function, '__qualname__', None) or type(function).__qualname__}"


def name_of(module: str, code: CodeType) -> str:
    """`module:function`; `file.py:function` where the module is a file that was given a name of our own."""
    path = Path(code.co_filename)
    if path.stem not in (module.rpartition(".")[2], "__init__") and module.startswith(path.stem):
        module = path.name
    return f"{module}:{code.co_qualname}"
