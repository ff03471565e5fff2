"""The command `gateway`. Each command is imported when it is called, so that none pays for the others."""

from importlib import import_module

import click

from gateway import __version__, compiled

COMMANDS = {
    "run": "gateway.runtime.commands:run",
    "demo": "gateway.demo.command:demo",
    "check": "gateway.config.commands:check",
    "explain": "gateway.config.commands:explain",
    "routes": "gateway.config.commands:routes",
    "test": "gateway.config.commands:test",
    "plan": "gateway.config.commands:plan",
    "schema": "gateway.config.commands:schema",
    "status": "gateway.runtime.commands:status",
    "reload": "gateway.runtime.commands:reload",
    "drain": "gateway.runtime.commands:drain",
    "top": "gateway.runtime.top:top",
}
"""Name to `module:function`. To add a command: a line here."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module, _, name = COMMANDS.get(cmd_name, "").partition(":")
        if not module:
            return None
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from gateway.config.problems import did_you_mean

            hint = did_you_mean(args[0], COMMANDS)
            ctx.fail(f"there is no command {args[0]!r}; " + (hint or f"there are {', '.join(COMMANDS)}"))
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(f"{__version__} ({'compiled' if compiled else 'pure Python'})", prog_name="gateway")
def main() -> None:
    """Floodgate: a reverse proxy and API gateway.

    Exit codes: 0 good; 1 it failed while running; 2 the config or the command line is wrong.
    """
