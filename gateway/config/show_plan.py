"""What `gateway plan` found, for people and as a document."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from gateway.config.diff import Changes
from gateway.config.replay import Replayed

MOVES_SHOWN = 20


def plan_document(changes: Changes, replayed: Replayed | None) -> dict[str, Any]:
    """Plain values; `log` is None where none was given."""
    return {"changes": changes.document(), "log": asdict(replayed) if replayed else None}


def plan_lines(changes: Changes, replayed: Replayed | None) -> Iterator[str]:
    """One line a change, then those of the log."""
    for kind, texts in changes.document().items():
        for text in texts:
            yield f"! {text}" if kind == "refused" else text
    if changes.refused:
        yield "a reload would be refused for what is marked with !"
    elif not changes:
        yield "a reload would change nothing"
    if replayed:
        yield from _log(replayed)


def _log(told: Replayed) -> Iterator[str]:
    yield f"log: {told.moved} of {told.requests} requests go elsewhere"
    for move in told.moves[:MOVES_SHOWN]:
        yield f"{move.requests:>8}  {move.old} -> {move.new}"
        for sample in move.samples:
            yield f"{'':>10}{sample}"
    if len(told.moves) > MOVES_SHOWN:
        rest = told.moved - sum(move.requests for move in told.moves[:MOVES_SHOWN])
        yield f"{rest:>8}  in other ways; --json tells {len(told.moves)}"
    if told.undecided:
        add = ", ".join(f'"{name}"' for name in told.missing)
        yield f"{told.undecided:>8}  unknown: routes look at what is not logged (access_log: fields: add: [{add}])"
    if told.unreadable:
        yield f"{told.unreadable:>8}  lines not read: they hold no request in the json format of the access log"
