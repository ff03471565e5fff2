"""`gateway run`, `status`, `reload` and `drain`."""

import json
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from typing import Any

import click

from gateway.config.settings import AdminSettings, GatewaySettings
from gateway.core.address import Address, parse_address
from gateway.observe.logs import setup
from gateway.runtime.loading import CONFIG_WRONG, LoadFailed, Reader
from gateway.transport.settings import ListenSettings

ANSWER_S = 10.0
RELOAD_S = 150.0
UNPROCESSABLE = 422
"""The document of the answer says why."""


class _AddressType(click.ParamType["Address"]):
    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        try:
            return parse_address(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


ADDRESS = _AddressType()


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
        return _overridden(again, workers, listen, admin, log_level), said

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


def _admin_options(command: Any) -> Any:
    default = str(AdminSettings().address)
    command = click.option("--admin", type=ADDRESS, default=default, show_default=True, help="Admin address.")(command)
    token = click.option("--token", envvar="GATEWAY_ADMIN_TOKEN", default="", help="Or GATEWAY_ADMIN_TOKEN.")
    return token(command)


@click.command()
@_admin_options
@click.option("--json", "as_json", is_flag=True, help="The document of /status as it is.")
def status(admin: Address, token: str, as_json: bool) -> None:
    """Show the workers, routes and upstreams of a running gateway."""
    body = _ask(admin, "GET", "/status", token)
    if as_json:
        click.echo(body)
        return
    from gateway.runtime.status_table import print_status

    print_status(json.loads(body))


@click.command()
@_admin_options
def drain(admin: Address, token: str) -> None:
    """Make a running gateway finish what is under way and end."""
    _ask(admin, "POST", "/drain", token)
    click.echo("draining")


@click.command()
@_admin_options
def reload(admin: Address, token: str) -> None:
    """Make a running gateway read its config again; says what changed, or every error."""
    document = json.loads(_ask(admin, "POST", "/reload", token, RELOAD_S))
    if errors := document.get("errors"):
        for error in errors:
            click.echo(error, err=True)
        sys.exit(CONFIG_WRONG)
    for warning in document["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    texts = [text for kind in document["changed"].values() for text in kind]
    click.echo("\n".join(texts) or "nothing changed")


def _ask(admin: Address, method: str, path: str, token: str, answer_s: float = ANSWER_S) -> str:
    """The body of the answer; ends with exit code 1 and one line where there is none."""
    if admin.path:
        raise click.UsageError("a unix admin address cannot be asked yet: use curl --unix-socket")
    request = urllib.request.Request(f"http://{admin}{path}", method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=answer_s) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        if error.code == UNPROCESSABLE:
            return str(error.read().decode())
        hint = ": give --token or set GATEWAY_ADMIN_TOKEN" if error.code in (401, 403) else ""
        sys.exit(f"{admin} says {error.code} {error.reason}{hint}")
    except OSError as error:
        why = getattr(error, "reason", error)
        sys.exit(f"no gateway answers at {admin} ({why}); is it running, and is --admin its address?")
