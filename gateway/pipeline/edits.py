"""Setting and removing header fields, as a route's `headers:` says."""

from gateway.pipeline.settings import HeaderEdits
from gateway.wire.hops import lines_of


class Editor:
    """Edits worked out once; applied to `Name: value` lines."""

    __slots__ = ("_added", "_dropped")

    def __init__(self, edits: HeaderEdits) -> None:
        self._dropped = frozenset([name.lower() for name, _ in edits.set] + [name.lower() for name in edits.remove])
        self._added = lines_of(edits.set)

    def apply(self, lines: str) -> str:
        """`lines` without the fields that are set or removed, then those that are set."""
        kept = [
            line + "\r\n"
            for line in lines.split("\r\n")
            if line and line.partition(":")[0].lower() not in self._dropped
        ]
        return "".join(kept) + self._added


def editor(edits: HeaderEdits) -> Editor | None:
    """None where there is nothing to edit, so that the request path can skip it."""
    return Editor(edits) if edits else None
