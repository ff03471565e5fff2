"""The routing table and the explanation of a request, for people."""

import click
from rich.console import Console
from rich.table import Table

from gateway.config import explain_python
from gateway.config.answer_text import answer_text, percent
from gateway.config.explain import Explained
from gateway.config.settings import GatewaySettings
from gateway.decide.route.form import Form, most_specific_first
from gateway.pipeline.settings import RouteSettings


def print_routes(settings: GatewaySettings) -> None:
    """One line for each host and path, in the order in which they are tried."""
    # Without a terminal nothing is cut: a pipe has no width.
    console = Console() if Console().is_terminal else Console(width=10_000)
    table = Table("method", "host", "path", "conditions", "to", "route", "source", box=None, pad_edge=False)
    for form in most_specific_first((route.match, route) for route in settings.routes):
        table.add_row(*_row(form))
    console.print(table, markup=False, highlight=False)


def _row(form: Form[RouteSettings]) -> tuple[str, ...]:
    conditions = [f"{name}: {value}" for name, value in form.headers] + [
        f"?{name}={value}" for name, value in form.query
    ]
    methods = ",".join(form.methods) or "any"
    route = form.value
    return (
        methods,
        form.host or "any",
        form.pattern.text,
        " ".join(conditions),
        answer_text(route),
        route.name,
        route.source,
    )


def print_explained(told: Explained) -> None:
    """The document of `explain` in lines."""
    for name, text in _lines(told):
        click.echo(f"{name:<12}{text}")
    if told["near_misses"]:
        click.echo("near misses")
    for miss in told["near_misses"]:
        click.echo(f"  {miss['route']} ({miss['source']}): {miss['why_not']}")


def _lines(told: Explained) -> list[tuple[str, str]]:
    if told["route"] is None:
        allow = f", Allow: {', '.join(told['allow'])}" if told["allow"] else ""
        return [("route", f"none: {told['status']} {told['reason']}{allow}")]
    lines = [("route", f"{told['route']} ({told['source']})")]
    if told["params"]:
        lines.append(("params", ", ".join(f"{name}={value}" for name, value in told["params"].items())))
    lines += explain_python.lines(told)
    for each in told.get("upstreams", []):
        share = "" if each["share"] == 1 else f" {percent(each['share'])}"
        lines.append(("upstream", f"{each['upstream']}{share}"))
        among = f", one of {len(each['targets'])}" if len(each["targets"]) > 1 else ""
        lines.append(("target", f"{each['target']} ({each['balance']}{among}, with nothing in flight)"))
        if "hedge" in each:
            lines.append(("hedge", f"a second target after {each['hedge']}, if the request is idempotent"))
    if "path" in told:
        host = str(told["host"])
        lines += [("path", told["path"]), ("host", _HOSTS.get(host, host))]
    if "location" in told:
        lines.append(("location", told["location"]))
    if "status" in told:
        lines.append(("status", str(told["status"])))
    return lines + [("policy", policy) for policy in told["policies"]]


_HOSTS = {"pass": "pass (the client's)", "upstream": "upstream (the target's)"}
