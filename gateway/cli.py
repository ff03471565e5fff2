"""The command line: a table of commands, each imported when it is used."""

from importlib import import_module

import click

from gateway import __version__

COMMANDS = {
    "run": "gateway.runtime.commands:run",
    "status": "gateway.runtime.commands:status",
    "drain": "gateway.runtime.commands:drain",
    "demo": "gateway.demo.command:demo",
}
"""Name to `module:function`, in the order of the help."""


class _Lazy(click.Group):
    """Imports a command's module when the command is used, so that each starts with what it needs alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, function = place.partition(":")
        command: click.Command = getattr(import_module(module), function)
        return command


@click.command(cls=_Lazy)
@click.version_option(__version__, prog_name="gateway")
def main() -> None:
    """Floodgate: a hybrid asyncio + thread-pool API gateway."""
