"""`gateway run`, `status`, `reload` and `drain`."""

import json
import sys
from dataclasses import replace

import click

from gateway.config.settings import GatewaySettings
from gateway.core.address import Address
from gateway.observe.logs import setup
from gateway.runtime.ask import ADDRESS, admin_options, ask
from gateway.runtime.loading import CONFIG_WRONG, LoadFailed, Reader
from gateway.transport.settings import ListenSettings

RELOAD_S = 150.0


@click.command()
@click.argument("config", default="config/gateway.yaml")
@click.option("--workers", type=click.IntRange(1, 1024), help="Number of worker processes.")
@click.option("--listen", type=ADDRESS, help="Listen here (plain HTTP) and not where the file says.")
@click.option("--admin", type=ADDRESS, help="The admin address.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
def run(config: str, workers: int | None, listen: Address | None, admin: Address | None, log_level: str | None) -> None:
    """Serve what CONFIG says, until a signal: SIGTERM and SIGINT finish what is under way, twice stops at once."""
    reader = Reader(config)
    reader.begin()
    from gateway.runtime.supervisor import Supervisor  # meanwhile: this takes as long as reading

    try:
        settings, warnings = reader.read()
    except LoadFailed as failure:
        click.echo(failure, err=True)
        sys.exit(CONFIG_WRONG)
    except KeyboardInterrupt:
        sys.exit(1)
    finally:
        reader.rest()  # few gateways are reloaded soon after their start

    def read() -> tuple[GatewaySettings, tuple[str, ...]]:
        again, said = reader.read()
        try:
            return _overridden(again, workers, listen, admin, log_level), said
        except click.BadParameter as error:
            raise LoadFailed((error.format_message(),), again.sources) from None

    settings = _overridden(settings, workers, listen, admin, log_level)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    setup(settings.log, "supervisor")
    try:
        code = Supervisor(settings, read=read).run()
    finally:
        reader.close()
    sys.exit(code)


def _overridden(
    settings: GatewaySettings,
    workers: int | None,
    listen: Address | None,
    admin: Address | None,
    log_level: str | None,
) -> GatewaySettings:
    if workers:
        settings = replace(settings, workers=workers)
    if listen:
        settings = replace(settings, listen=(ListenSettings(listen),))
    if admin:
        settings = replace(settings, admin=replace(settings.admin, address=admin))
    if log_level:
        settings = replace(settings, log=replace(settings.log, level=log_level))
    if not settings.admin.address.is_loopback and not settings.admin.token:
        raise click.BadParameter(f"{settings.admin.address} is not loopback: set admin.token", param_hint="--admin")
    return settings


@click.command()
@admin_options
@click.option("--json", "as_json", is_flag=True, help="The document of /status as it is.")
def status(admin: Address, token: str, as_json: bool) -> None:
    """Show the workers, routes and upstreams of a running gateway."""
    body = ask(admin, "GET", "/status", token)
    if as_json:
        click.echo(body)
        return
    from gateway.runtime.status_table import print_status

    print_status(json.loads(body))


@click.command()
@admin_options
def drain(admin: Address, token: str) -> None:
    """Make a running gateway finish what is under way and end."""
    ask(admin, "POST", "/drain", token)
    click.echo("draining")


@click.command()
@admin_options
def reload(admin: Address, token: str) -> None:
    """Make a running gateway read its config again; says what changed, or every error."""
    document = json.loads(ask(admin, "POST", "/reload", token, RELOAD_S))
    if errors := document.get("errors"):
        for error in errors:
            click.echo(error, err=True)
        sys.exit(CONFIG_WRONG)
    for warning in document["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    texts = [text for kind in document["changed"].values() for text in kind]
    click.echo("\n".join(texts) or "nothing changed")
