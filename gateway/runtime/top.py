"""`gateway top`: a live table of a running gateway."""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.live import Live

from gateway.core.address import Address
from gateway.runtime.ask import AskError, admin_options, answer_of
from gateway.runtime.top_rates import Between, Look, look
from gateway.runtime.top_table import screen

ANSWER_S = 3.0
"""Of the gateway; a key is heard after that at the latest."""
_WIDE = 200
"""Columns where there is no terminal."""


@click.command()
@admin_options
@click.option(
    "--interval", type=click.FloatRange(0.1, 60), default=1.0, show_default=True, help="Seconds from look to look."
)
@click.option("--once", is_flag=True, help="Print what happens in one interval, and end; so without a terminal.")
def top(admin: Address, token: str, interval: float, once: bool) -> None:
    """Show what a running gateway does, by route, upstream, queue and worker; q ends it."""
    console = Console()
    try:
        first = _look(admin, token)
        if once or not console.is_terminal:
            time.sleep(interval)
            wide = Console(width=None if console.is_terminal else _WIDE)
            wide.print(screen(Between(first, _look(admin, token)), sys.maxsize))
            return
    except AskError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        return
    _live(console, admin, token, interval, first)


def _look(admin: Address, token: str) -> Look:
    """Raises AskError."""
    status = answer_of(admin, "GET", "/status", token, ANSWER_S)
    metrics = answer_of(admin, "GET", "/metrics", token, ANSWER_S)
    return look(time.monotonic(), json.loads(status), metrics)


def _live(console: Console, admin: Address, token: str, interval_s: float, now: Look) -> None:
    """Until q, Ctrl-C or SIGTERM; the terminal is left as it was. A gateway that is gone for a while is waited for."""
    before, note = None, ""
    for each in (signal.SIGINT, signal.SIGTERM):  # a shell leaves SIGINT ignored in what it starts in the background
        signal.signal(each, signal.default_int_handler)
    try:
        with _keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(screen(Between(before, now), console.size.height, note), refresh=True)
                if _told_to_end(keys, interval_s):
                    return
                try:
                    before, now, note = now, _look(admin, token), ""
                except AskError as error:
                    note = str(error)
    except KeyboardInterrupt:
        return


@contextmanager
def _keys() -> Iterator[int]:
    """The descriptor of a terminal that gives keys at once and does not show them; -1 where there is none."""
    import termios
    import tty

    if not sys.stdin.isatty():
        yield -1
        return
    fd = sys.stdin.fileno()
    as_before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield fd
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, as_before)


def _told_to_end(keys: int, interval_s: float) -> bool:
    """Wait for so long; True if q was pressed, or the terminal is gone."""
    until = time.monotonic() + interval_s
    while (left_s := until - time.monotonic()) > 0:
        if keys < 0:
            time.sleep(left_s)
        elif select.select([keys], [], [], left_s)[0]:
            pressed = os.read(keys, 64)
            if not pressed or b"q" in pressed.lower():
                return True
    return False
