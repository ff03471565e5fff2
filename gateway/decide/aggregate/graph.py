"""Which source waits for which: a source waits for all that its path, headers and body refer to."""

from collections.abc import Mapping
from typing import Any

from gateway.decide.aggregate.references import Place, Reference, references_in
from gateway.decide.aggregate.settings import AggregateSettings, SourceSettings


def texts_of(source: SourceSettings) -> list[tuple[Place, Any]]:
    """Where a source may hold references: places under the source, with their texts or JSON values."""
    headers = [(("headers", name), value) for name, value in source.headers]
    return [(("path",), source.path), *headers, (("body",), source.body)]


def references_of(source: SourceSettings) -> list[tuple[Place, Reference]]:
    """All references of a source, each with its place under the source. Raises ValueError."""
    return [((*at, *place), found) for at, text in texts_of(source) for place, found in references_in(text)]


def dependencies(settings: AggregateSettings) -> dict[str, tuple[str, ...]]:
    """For each source the sources that it waits for, each once. Raises ValueError."""
    names = {source.name for source in settings.sources}
    return {
        source.name: tuple(dict.fromkeys(each.name for _, each in references_of(source) if each.name in names))
        for source in settings.sources
    }


def find_cycle(waits: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Sources that wait for each other in a ring, each for the next and the last for the first; empty: none do."""
    done: set[str] = set()
    for start in waits:
        trail: list[str] = []
        stack = [(start, iter(waits[start]))] if start not in done else []
        trail += [start] if stack else []
        while stack:
            name, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                done.add(name)
                stack.pop()
                trail.pop()
            elif following in trail:
                return tuple(trail[trail.index(following) :])
            elif following not in done:
                stack.append((following, iter(waits.get(following, ()))))
                trail.append(following)
    return ()
