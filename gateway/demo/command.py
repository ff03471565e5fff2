"""`gateway demo`: real services, a gateway in front of them, and a curl line for each thing it does."""

import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from gateway.demo.children import ChildError, Children
from gateway.demo.features import FEATURES
from gateway.demo.ports import Ports, reserve
from gateway.demo.send import check


@click.command()
@click.option("--check", "checks", is_flag=True, help="Send every request, compare the answers, stop.")
@click.option("--port", default=8080, show_default=True, help="Of the gateway; another when it is taken.")
@click.option("--admin-port", default=9901, show_default=True, help="Of the admin address; another when it is taken.")
def demo(checks: bool, port: int, admin_port: int) -> None:
    """Start small real upstreams and a gateway on loopback, and print a curl line for each feature."""
    if find_spec("flask") is None:
        sys.exit("demo: it has a Flask application in it, and Flask is not installed: pip install 'floodgate[demo]'")
    try:
        with reserve(port, admin_port) as ports:
            sys.exit(asyncio.run(_run(ports, checks)))
    except ChildError as error:
        sys.exit(f"demo: {error}")


async def _run(ports: Ports, checks: bool) -> int:
    async with Children(quiet=checks) as children:
        for kind, addresses in ports.upstreams.items():
            words = [f"{name}=fd:{listener.fileno()}" for name, listener in addresses.items()]
            descriptors = [listener.fileno() for listener in addresses.values()]
            await children.start(kind, "gateway.demo.upstreams", kind, *words, keep=descriptors)
        config = str(config_path())
        await children.start("the gateway", "gateway", "run", config, env=ports.environment())
        await children.ready(f"{ports.admin_url}/readyz")
        if checks:
            return await _check(ports)
        _print(ports)
        await children.until_stopped()
        click.echo("\nstopping", err=True)
        return 0


def config_path() -> Path:
    """Of config/demo.yaml in a checkout; an installed package has a copy of it beside this file."""
    return Path(__file__).with_name("demo.yaml").resolve()


def _print(ports: Ports) -> None:
    click.echo(f"The gateway: {ports.url}   its admin address: {ports.admin_url}   its config: {config_path()}")
    for name, url in ports.upstream_urls():
        click.echo(f"  {name:<12} {url}")
    for feature in FEATURES:
        click.echo(f"\n{click.style(feature.title, bold=True)}\n  {feature.curl(ports.base(feature))}")
    click.echo("\nBelow is the access log. Ctrl-C ends all of it.\n")


async def _check(ports: Ports) -> int:
    """Sends each printed request; 0 when all answers are as they must be."""
    failed = 0
    for feature in FEATURES:
        wrong = await check(feature, ports.base(feature))
        failed += bool(wrong)
        click.echo(f"{'FAILED' if wrong else 'ok    '}  {feature.title}")
        if wrong:
            click.echo(f"        {feature.curl(ports.base(feature))}\n        {wrong}")
    click.echo(f"{len(FEATURES) - failed} of {len(FEATURES)} as they must be")
    return 1 if failed else 0
