"""What of the users' Python a request meets, on which executor; and what an aggregate asks."""

from collections.abc import Mapping
from typing import Any

from gateway.config.imports import Code, Codes, Wanted
from gateway.config.settings import GatewaySettings
from gateway.config.units import format_duration
from gateway.decide.aggregate.graph import dependencies
from gateway.decide.aggregate.settings import AggregateSettings
from gateway.executors.settings import DEFAULT, ExecutorSettings
from gateway.pipeline.settings import AppSettings, CallableSettings, HandlerSettings, PluginSettings, short_name

Explained = dict[str, Any]


class PythonOf:
    """Explains the Python of one config; `codes` is what its import found."""

    def __init__(self, settings: GatewaySettings, codes: Codes) -> None:
        self._executors: Mapping[str, ExecutorSettings] = {each.name: each for each in settings.executors}
        self._codes = codes

    def plugin(self, plugin: PluginSettings) -> Explained:
        return {"name": plugin.name, **self._call(plugin.call, "plugin"), "on_error": plugin.on_error}

    def handler(self, handler: HandlerSettings) -> Explained:
        return self._call(handler.call, "handler")

    def app(self, app: AppSettings) -> Explained:
        code = self._codes.get(Wanted(app.app, app.kind))
        runs = self._runs_on(app.executor, app.kind == "asgi")
        script_name = app.strip.removesuffix("*").rstrip("/")
        return {"kind": app.kind, **_named(app.app, code), **runs, "script_name": script_name}

    def _call(self, call: CallableSettings, kind: str) -> Explained:
        code = self._codes.get(Wanted(call.run, kind))
        runs = self._runs_on(call.executor, bool(code and code.is_async))
        return {**_named(call.run, code), **runs, "timeout_s": call.timeout_s}

    def _runs_on(self, executor: str, on_loop: bool) -> Explained:
        """`executor` is None for what runs on the event loop."""
        if on_loop:
            return {"executor": None, "workers": ""}
        found = self._executors[executor or DEFAULT]
        workers = f"{found.threads} threads" if found.threads else f"{found.processes} processes"
        return {"executor": found.name, "workers": workers}


def _named(run: str, code: Code | None) -> Explained:
    """`what` and `place` are None where it was not imported."""
    return {"run": short_name(run), "what": code.what if code else None, "place": code.place if code else None}


def aggregate(answer: AggregateSettings) -> Explained:
    waits = dependencies(answer)
    return {
        "deadline_s": answer.deadline_s,
        "merge": "shape" if answer.shape is not None else answer.merge,
        "sources": [
            {
                "source": each.name,
                "upstream": each.to,
                "method": each.method,
                "path": each.path,
                "required": each.required,
                "timeout_s": each.timeout_s,
                "waits_for": list(waits[each.name]),
            }
            for each in answer.sources
        ],
    }


def lines(told: Explained) -> list[tuple[str, str]]:
    """Of an explanation, what is about Python and sources."""
    found = [("plugin", _plugin(each)) for each in told.get("plugins", [])]
    if "handler" in told:
        found.append(("handler", _code(told["handler"])))
    if "app" in told:
        app = told["app"]
        under = f", SCRIPT_NAME {app['script_name']}" if app["script_name"] else ""
        found.append(("app", f"{app['kind']} {_code(app)}{under}"))
    if "aggregate" in told:
        deadline = format_duration(told["aggregate"]["deadline_s"])
        found.append(("aggregate", f"{told['aggregate']['merge']}, deadline {deadline}"))
        found += [("source", _source(each)) for each in told["aggregate"]["sources"]]
    return found


def _plugin(told: Explained) -> str:
    name = f"{told['name']} = " if told["name"] != told["run"] else ""
    return f"{name}{_code(told)}, on_error {told['on_error']}"


def _code(told: Explained) -> str:
    runs_on = f"executor {told['executor']} ({told['workers']})" if told["executor"] else "the event loop"
    if told["what"] is None:
        unsure = "" if told.get("kind") else ", if it is a plain def"
        return f"{told['run']} on {runs_on}{unsure} (not imported){_timeout(told)}"
    at = f" at {told['place']}" if told["place"] else ""
    return f"{told['run']} on {runs_on}: {told['what']}{at}{_timeout(told)}"


def _timeout(told: Explained) -> str:
    return f", timeout {format_duration(told['timeout_s'])}" if told.get("timeout_s") else ""


def _source(told: Explained) -> str:
    need = ", required" if told["required"] else ""
    waits = f", waits for {' and '.join(told['waits_for'])}" if told["waits_for"] else ""
    return f"{told['source']}: {told['method']} {told['upstream']} {told['path']}{need}{waits}{_timeout(told)}"
