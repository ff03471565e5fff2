"""Reading the config in a process of its own, which ends with what it imported.

The libraries that check a config (pydantic, ruamel.yaml) would stay in the supervisor's memory for its whole life.
"""

import pickle
import re
import signal
import subprocess
import sys

from gateway.config.settings import GatewaySettings
from gateway.core.interpreter import command, environment

CONFIG_WRONG = 2
"""Exit code, of the child and of the gateway."""
_NEXT = re.compile(r"\n(?! )")
"""Where the next problem begins: the picture of one is indented."""


class LoadFailed(Exception):
    """The config is wrong; `errors` are all of them, each with its picture on further lines."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.errors = tuple(_NEXT.split(text))


class Reading:
    """A config being read. Make one early, do something else, ask for the `result`."""

    def __init__(self, path: str) -> None:
        self._child = subprocess.Popen(
            command("gateway.runtime.loading", path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment({}),
        )

    def result(self) -> tuple[GatewaySettings, tuple[str, ...]]:
        """The settings, and the warnings. Raises LoadFailed."""
        stored, said = self._child.communicate()
        if not stored:  # not by its exit code: as the first process of a container, it may be reaped elsewhere
            raise LoadFailed(said.decode(errors="replace").strip() or "the config could not be read")
        settings, warnings = pickle.loads(stored)
        return settings, warnings


def main() -> None:
    """The child: writes a pickled pair to standard output, or the errors to standard error."""
    from gateway.config.load import ConfigError, load

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is told by the parent, once
    try:
        loaded = load(sys.argv[1])
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(CONFIG_WRONG)
    warnings = tuple(warning.render() for warning in loaded.warnings)
    sys.stdout.buffer.write(pickle.dumps((loaded.settings, warnings)))


if __name__ == "__main__":
    main()
