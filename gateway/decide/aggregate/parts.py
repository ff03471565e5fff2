"""What sources gave: their values, as JSON text and as far as others ask for it.

A value that nothing was picked from stays the very text that the upstream sent: no number loses a digit on its way.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.json import Fragment, JSONDecodeError, dumps, loads
from gateway.decide.aggregate.pick import PickError, Transform
from gateway.decide.aggregate.references import MISSING, walk

Path = tuple[str, ...]
NOT_JSON: Final = "not_json"
PICK_FAILED: Final = "pick_failed"


class BadAnswer(Exception):
    """An answer that gives no value; `reason` is of the closed list in outcome.py."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)  # both, so that it can come from another process
        self.reason = reason
        self.detail = detail


class Part:
    """The value of one source."""

    __slots__ = ("raw", "value")

    def __init__(self, raw: bytes, value: Any) -> None:
        self.raw = raw
        """As JSON."""
        self.value = value

    def at(self, path: Path) -> Any:
        """What `path` leads to, or MISSING."""
        return walk(self.value, path)

    def json_at(self, path: Path) -> bytes | None:
        """The same as JSON; None for MISSING."""
        if not path:
            return self.raw
        found = walk(self.value, path)
        return None if found is MISSING else dumps(found)

    def members(self) -> Mapping[str, Any] | None:
        """Of an object, ready for `dumps`; None for anything else."""
        return self.value if isinstance(self.value, dict) else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self.raw)} bytes>"


class LargePart(Part):
    """A value that was parsed elsewhere: of it there is the text, and what was asked for."""

    __slots__ = ("_inner", "_leaves")

    def __init__(self, raw: bytes, leaves: dict[Path, bytes], inner: dict[str, bytes] | None) -> None:
        super().__init__(raw, None)
        self._leaves = leaves
        self._inner = inner

    def at(self, path: Path) -> Any:
        found = self.json_at(path)
        return MISSING if found is None else loads(found)

    def json_at(self, path: Path) -> bytes | None:
        return self._leaves.get(path) if path else self.raw

    def members(self) -> Mapping[str, Any] | None:
        return None if self._inner is None else {name: Fragment(text) for name, text in self._inner.items()}


def parse(body: bytes, transform: Transform, taken_apart: bool) -> Part:
    """The value of an answer. Raises BadAnswer.

    taken_apart: more than the whole of it is used, so it must be what `dumps` can write again (254 levels deep).
    """
    try:
        value = loads(body)
        if transform:
            value = transform(value)
            return Part(dumps(value), value)
        if taken_apart:
            dumps(value)
        return Part(body.strip(), value)
    except JSONDecodeError as error:
        raise BadAnswer(NOT_JSON, f"the answer is not valid JSON: {error}") from None
    except PickError as error:
        raise BadAnswer(PICK_FAILED, f"pick: {error}") from None
    except TypeError as error:
        raise BadAnswer(NOT_JSON, f"the answer cannot be written as JSON again: {error}") from None


def digest(body: bytes, transform: Transform, paths: tuple[Path, ...], flat: bool) -> LargePart:
    """`parse` for an executor: a value with what is asked of it, all of it text. Raises BadAnswer.

    `raw` is empty where it is the body itself, which need not be carried back.
    """
    part = parse(body, transform, bool(paths) or flat)
    leaves = {path: found for path in paths if (found := part.json_at(path)) is not None}
    members = part.members() if flat else None
    inner = None if members is None else {name: dumps(each) for name, each in members.items()}
    return LargePart(b"" if part.raw is body else part.raw, leaves, inner)
