"""Letting go of what was large, on a thread beside the loop and a little at a time.

Python frees in one go whatever only one object holds, and every other thread stands still for as long: the routes and
the settings of 10 000 routes would hold up the loop for 45 ms.
"""

from gateway.pipeline.handle import Snapshot


def release(snapshots: list[Snapshot]) -> None:
    """Free snapshots that nobody else holds any more, except requests their own route."""
    while snapshots:
        pieces = snapshots[-1].table.pieces()
        snapshots.pop()  # frees no more than a shell, since all that is in it is held by `pieces` too
        free(pieces)


def free(pieces: list[object]) -> None:
    """Let go of one after the other, from the first to the last; others have a turn in between."""
    pieces.reverse()
    while pieces:
        pieces.pop()
