"""What an aggregate asks for, and how the answers are put together. Seconds."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One request of an aggregate. `path`, header values and texts in `body` may hold references.

    `{param}` is a parameter of the route, `{source.field.0.id}` a part of another source's value.
    """

    name: str
    to: str
    """The upstream."""
    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: Any = None
    """Sent as JSON; None: none."""
    timeout_s: float | None = None
    """None: what is left of the aggregate's deadline."""
    required: bool = False
    has_fallback: bool = False
    fallback: Any = None
    """The value of a source that failed, where `has_fallback`."""
    pick: str = ""
    """JMESPath into the answer; empty: all of it."""
    rename: tuple[tuple[str, str], ...] = ()
    """(old, new) names of members, after `pick`."""


@dataclass(frozen=True, slots=True)
class AggregateSettings:
    """Answered from many upstreams."""

    sources: tuple[SourceSettings, ...]
    deadline_s: float
    merge: str = "object"
    """object (by source name) | flat (members of all) | list (in the order of the sources)"""
    shape: Any = None
    """A JSON template whose texts may be references; None: what `merge` says."""
    forward: tuple[str, ...] = ()
    """Lower-case names of the request fields that every source gets."""
