"""`gateway check`, `routes`, `explain`, `test`, `plan` and `schema`: all that needs no running gateway."""

import sys
from typing import IO, TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gateway.config.explain import Explained
    from gateway.config.load import Loaded

FAILED = 1
CONFIG_WRONG = 2

_CONFIG = click.argument("config", default="config/gateway.yaml")
_NO_IMPORT = click.option("--no-import", is_flag=True, help="Do not import the Python that CONFIG names.")


def read(path: str, *, no_import: bool = False) -> "Loaded":
    """The config; ends with all its errors where it has some, and says its warnings."""
    from gateway.config.imports import IMPORT_S
    from gateway.config.load import ConfigError, load

    try:
        loaded = load(path, import_s=None if no_import else IMPORT_S)
    except ConfigError as error:
        click.echo(error, err=True)
        count = len(error.problems)
        click.echo(f"{count} problem{'s' if count > 1 else ''}", err=True)
        sys.exit(CONFIG_WRONG)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    return loaded


@click.command()
@_CONFIG
@_NO_IMPORT
def check(config: str, no_import: bool) -> None:
    """Print every error of CONFIG with its line; or ok. Python that it names is imported in a process of its own."""
    settings = read(config, no_import=no_import).settings
    click.echo(f"ok: {_count(len(settings.routes), 'route')}, {_count(len(settings.upstreams), 'upstream')}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@click.command()
@_CONFIG
def routes(config: str) -> None:
    """Show the routing table of CONFIG, most specific first."""
    from gateway.config.show import print_routes

    print_routes(read(config, no_import=True).settings)


@click.command()
@click.argument("config")
@click.argument("request")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header of the request.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON document.")
@_NO_IMPORT
def explain(config: str, request: str, headers: tuple[str, ...], as_json: bool, no_import: bool) -> None:
    """Say which route takes REQUEST, why the near misses do not, what Python runs where, and the target.

    REQUEST is such as 'GET https://shop.example.com/orders?page=2'.
    """
    from gateway.config.asked import parse_request
    from gateway.config.explain import explain as explained

    try:
        asked = parse_request(request, map(_header, headers))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    loaded = read(config, no_import=no_import)
    _print(explained(loaded.settings, asked, loaded.codes), as_json)


def _print(document: "Explained", as_json: bool) -> None:
    if as_json:
        from gateway.core.json import dumps_pretty

        click.echo(dumps_pretty(document), nl=False)
        return
    from gateway.config.show import print_explained

    print_explained(document)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise click.UsageError(f"a header is written 'name: value'; found {line!r}")
    return name.strip(), value.strip()


@click.command()
@_CONFIG
@_NO_IMPORT
def test(config: str, no_import: bool) -> None:
    """Run the tests: of CONFIG, without network."""
    from gateway.config.run_tests import run_tests

    outcomes = run_tests(read(config, no_import=no_import).settings)
    failed = [outcome for outcome in outcomes if outcome.faults]
    for outcome in failed:
        for fault in outcome.faults:
            click.echo(f"{outcome.test.source}: {outcome.test.request}: {fault}", err=True)
    if failed:
        click.echo(f"{len(failed)} of {_count(len(outcomes), 'test')} failed", err=True)
        sys.exit(FAILED)
    click.echo(f"ok: {_count(len(outcomes), 'test')}")


@click.command()
@click.argument("old")
@click.argument("new")
@click.option(
    "--log", type=click.File("rb"), metavar="ACCESS_LOG", help="Requests to route by both (json; - is stdin)."
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON document.")
@_NO_IMPORT
def plan(old: str, new: str, log: IO[bytes] | None, as_json: bool, no_import: bool) -> None:
    """Say what a reload from the config OLD to NEW would change; with a log, which of its requests go elsewhere."""
    from gateway.config.diff import changes
    from gateway.config.replay import lines_of, replay

    before, after = read(old, no_import=no_import).settings, read(new, no_import=no_import).settings
    found = changes(before, after)
    told = None if log is None else replay(before, after, lines_of(log))
    if as_json:
        from gateway.config.show_plan import plan_document
        from gateway.core.json import dumps_pretty

        click.echo(dumps_pretty(plan_document(found, told)), nl=False)
        return
    from gateway.config.show_plan import plan_lines

    click.echo("\n".join(plan_lines(found, told)))


@click.command()
def schema() -> None:
    """Print the JSON Schema of the config, for editors."""
    from gateway.config.schema import json_schema
    from gateway.core.json import dumps_pretty

    click.echo(dumps_pretty(json_schema()), nl=False)
