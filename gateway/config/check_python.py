"""Checks of the users' Python that need not import it: executors that exist, applications that are one thing."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.config.check import Checked
from gateway.config.lines import KeyPath
from gateway.config.model_python import App, Executor, Plugin
from gateway.config.model_route import Route
from gateway.executors.settings import DEFAULT
from gateway.pipeline.settings import short_name


@dataclass(frozen=True, slots=True)
class Use:
    """A place of the config that names Python."""

    path: KeyPath
    kind: str
    """handler | plugin | wsgi | asgi"""
    run: str
    executor: str

    @property
    def named_at(self) -> KeyPath:
        return (*self.path, self.kind if self.kind in ("wsgi", "asgi") else "run")


def uses(checked: Checked) -> Iterator[Use]:
    """Every place, in the order of the file; plugins of `defaults` once."""
    seen: set[KeyPath] = set()
    for index, route in zip(checked.route_indices, checked.config.routes, strict=True):
        for use in _of_route(route, ("routes", index)):
            if use.path not in seen:
                seen.add(use.path)
                yield use


def _of_route(route: Route, path: KeyPath) -> Iterator[Use]:
    listed = path if "plugins" in route.model_fields_set else ("defaults", "route")
    for number, plugin in enumerate(route.plugins):
        yield Use((*listed, "plugins", number), "plugin", plugin.run, plugin.executor)
    if route.handler:
        yield Use((*path, "handler"), "handler", route.handler.run, route.handler.executor)
    if route.app:
        for kind in ("wsgi", "asgi"):
            if getattr(route.app, kind):
                yield Use((*path, "app"), kind, getattr(route.app, kind), route.app.executor)


def check_executors(checked: Checked) -> None:
    """Each is threads or processes, those that are named exist, and somebody uses each."""
    for name, executor in checked.config.executors.items():
        _check_executor(checked, name, executor)
    used = {DEFAULT}
    known = list(dict.fromkeys([*checked.executors, DEFAULT]))
    for use in uses(checked):
        used.add(use.executor)
        if use.executor and use.executor not in known:
            hint = checked.guess(use.executor, known) or "define it under `executors:`"
            checked.fault((*use.path, "executor"), f"there is no executor {use.executor!r}", hint)
    for name in checked.config.executors:
        if name not in used and checked.complete:
            checked.warn(("executors", name), "nothing runs on this executor", at_key=True)


def _check_executor(checked: Checked, name: str, executor: Executor) -> None:
    path: KeyPath = ("executors", name)
    said = executor.model_fields_set
    if {"threads", "processes"} <= said:
        checked.fault((*path, "processes"), "an executor has threads or processes; keep one of the two", at_key=True)
    elif not {"threads", "processes"} & said and name != DEFAULT:
        checked.fault(path, "an executor needs threads or processes", f"such as `{name}: {{threads: 8}}`", at_key=True)
    elif "abandoned" in said and "processes" in said:
        fault = "is for threads; a process that does not end is killed and replaced"
        checked.fault((*path, "abandoned"), fault, "remove the key", at_key=True)


def check_apps(checked: Checked) -> None:
    """An application is WSGI or ASGI, and only WSGI runs on an executor."""
    for index, route in zip(checked.route_indices, checked.config.routes, strict=True):
        if route.app:
            _check_app(checked, route.app, ("routes", index, "app"))


def _check_app(checked: Checked, app: App, path: KeyPath) -> None:
    if app.wsgi and app.asgi:
        checked.fault((*path, "asgi"), "an application is wsgi or asgi; keep one of the two", at_key=True)
    elif not (app.wsgi or app.asgi):
        checked.fault(path, "an application needs wsgi or asgi", "such as {wsgi: package.module:app}")
    elif app.asgi and app.executor:
        fault = "an ASGI application runs on the event loop, never on an executor"
        checked.fault((*path, "executor"), fault, "remove the key", at_key=True)
    executor = checked.config.executors.get(app.executor)
    if app.wsgi and executor and "processes" in executor.model_fields_set:
        fault = f"{app.executor} has processes; an application needs threads, which share its memory"
        checked.fault((*path, "executor"), fault, at_key=True)


def check_plugin_names(checked: Checked) -> None:
    """Metrics of plugins go by name; two that differ are told apart."""
    first: dict[str, tuple[str, KeyPath]] = {}
    for index, route in zip(checked.route_indices, checked.config.routes, strict=True):
        listed: KeyPath = ("routes", index) if "plugins" in route.model_fields_set else ("defaults", "route")
        for number, plugin in enumerate(route.plugins):
            path = (*listed, "plugins", number)
            run, place = first.setdefault(plugin_name(plugin), (plugin.run, path))
            if run != plugin.run:
                fault = f"is called {plugin_name(plugin)!r}, as another plugin at {checked.place(place)}"
                checked.warn(path, fault, "give one of them a `name:`; metrics and logs go by it")


def plugin_name(plugin: Plugin) -> str:
    return plugin.name or short_name(plugin.run)
