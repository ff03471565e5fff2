"""What a process of an executor is told at its start: how to log, and which of the users' Python it will run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.config.settings import GatewaySettings
from gateway.executors.frames import Step
from gateway.executors.settings import DEFAULT
from gateway.observe.logs import LogSettings, setup
from gateway.pipeline.python import know_file, known_files, load, load_plugin
from gateway.pipeline.settings import CallableSettings, HandlerSettings


@dataclass(frozen=True, slots=True)
class ProcessSteps:
    """What a process of one executor runs at its start; the users' files are those that are known when it is asked."""

    log: LogSettings
    executor: str
    handlers: tuple[str, ...]
    plugins: tuple[str, ...]

    def __call__(self) -> list[Step]:
        return [(_log_as, (self.log, self.executor)), (_import, (known_files(), self.handlers, self.plugins))]


def steps_of(settings: GatewaySettings) -> Callable[[str], ProcessSteps]:
    """The steps by the name of the executor."""
    handlers: dict[str, set[str]] = {each.name: set() for each in settings.executors}
    plugins: dict[str, set[str]] = {each.name: set() for each in settings.executors}

    def note(where: dict[str, set[str]], call: CallableSettings) -> None:
        where[call.executor or DEFAULT].add(call.run)

    for route in settings.routes:
        if isinstance(route.answer, HandlerSettings):
            note(handlers, route.answer.call)
        for plugin in route.plugins:
            note(plugins, plugin.call)

    def steps(name: str) -> ProcessSteps:
        return ProcessSteps(settings.log, name, tuple(sorted(handlers[name])), tuple(sorted(plugins[name])))

    return steps


def _log_as(settings: LogSettings, executor: str) -> None:
    setup(settings, f"executor {executor}")


def _import(files: tuple[str, ...], handlers: Iterable[str], plugins: Iterable[str]) -> None:
    """Once and ahead of all calls, whose time it would take. Raises CodeError."""
    for file in files:
        know_file(file)
    for run in handlers:
        load(run)
    for run in plugins:
        load_plugin(run)
