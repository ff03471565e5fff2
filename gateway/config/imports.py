"""The users' Python, imported in a process of its own: nothing that it prints, how long it takes or how it ends
touches the command that asks."""

import json
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gateway.config import import_child
from gateway.core.interpreter import command, environment

IMPORT_S = 30.0
"""For one module. Large frameworks take 2 to 5 s on a slow disk."""
_GRACE_S = 2.0
"""After which a child that could not say itself where it hangs is ended."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a `run` names, and as what: handler | plugin | wsgi | asgi."""

    run: str
    kind: str


@dataclass(frozen=True, slots=True)
class Code:
    """What an import found. `place` is `file:line` (may be empty)."""

    is_async: bool
    what: str
    """`def`, `async def`, `on_request: def, on_response: def`, `WSGI application`, ..."""
    place: str


Codes = Mapping[Wanted, Code]


def import_all(
    wanted: Iterable[Wanted], directory: Path, *, limit_s: float = IMPORT_S
) -> tuple[dict[Wanted, Code], dict[Wanted, str]]:
    """What each name is, and what is wrong with the others. Takes at most `limit_s` for a name."""
    codes: dict[Wanted, Code] = {}
    faults: dict[Wanted, str] = {}
    left = list(dict.fromkeys(wanted))
    while left:
        child = _Child(left, directory, limit_s)
        try:
            told = child.run()
        finally:
            child.end()
        for each, facts in zip(left, told, strict=False):
            if "fault" in facts:
                faults[each] = facts["fault"]
            else:
                codes[each] = Code(**facts)
        left = left[len(told) :]
    return codes, faults


class _Child:
    """One process, which imports names until it has done all, or until one of them ends it."""

    def __init__(self, wanted: Sequence[Wanted], directory: Path, limit_s: float) -> None:
        self._wanted = wanted
        self._limit_s = limit_s
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        words = command(import_child.__name__)
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, env=environment({})
        )
        asked = {"directory": str(directory.absolute()), "limit_s": limit_s}
        names = [[each.run, each.kind] for each in wanted]
        assert self._process.stdin
        with suppress(BrokenPipeError):
            # It stays open: at its end the child knows that nobody waits for it any more.
            self._process.stdin.write(json.dumps(asked | {"wanted": names}).encode() + b"\n")
            self._process.stdin.flush()

    def run(self) -> list[dict[str, Any]]:
        """What the child says of each name; the last one may be the one that ended it."""
        lines = _Lines(self._process.stdout)
        told: list[dict[str, Any]] = []
        for each in self._wanted:
            line = lines.next(self._limit_s + _GRACE_S)
            if line:
                told.append(json.loads(line))
            else:
                fault = f"does not end within {self._limit_s:g} s" if line is None else self._ended()
                told.append({"fault": f"{each.run}: importing it {fault}", "last": True})
            if told[-1].pop("last", False):
                break
        return told

    def _ended(self) -> str:
        """Why the child is no more."""
        code = self._process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self._said.seek(0)
        said = self._said.read().decode("utf-8", "replace").strip().splitlines()
        return f"ends the process ({how})" + (f": {said[-1][:200]}" if said else "")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            if stream:
                with suppress(OSError):
                    stream.close()


class _Lines:
    """Lines of a pipe, each within a time."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        assert pipe
        self._pipe = pipe
        self._read = b""

    def next(self, within_s: float) -> bytes | None:
        """The next line; empty at the end; None where it took too long."""
        until = time.monotonic() + within_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while b"\n" not in self._read:
                if not selector.select(max(0.0, until - time.monotonic())):
                    return None
                more = self._pipe.read1(65536)  # type: ignore[attr-defined]
                if not more:
                    return b""
                self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line
