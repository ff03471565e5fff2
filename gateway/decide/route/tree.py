"""The paths of one host: from a path to all routes that match it, most specific first, one look-up a segment.

Patterns are kept in a tree of segments. A path can follow the literal and the parameter branch at once, so the
search works on states, each a list of the nodes that the segments so far can stand for, best first. States are
made when a request first needs them and kept (as RE2 does with its DFA), so there is no backtracking: a path costs
at most one look-up for each segment of the longest pattern, however many routes there are. Making a state costs one
step for each node in it. The states kept are bounded by the size of the tree; past the bound they are dropped and
made again.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final, Generic, TypeVar

from gateway.decide.route.match import Pattern

R = TypeVar("R")

_SPARE_STATES: Final = 1024


class _Node(Generic[R]):
    __slots__ = ("here", "literals", "param", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[R]] = {}
        self.param: _Node[R] | None = None
        self.here: list[R] = []
        self.rest: _Rest[R] | None = None


class _Rest(Generic[R]):
    """The routes of a trailing `/*`; once in a state, it stays in all that follow."""

    __slots__ = ("certain", "routes")

    def __init__(self) -> None:
        self.routes: list[R] = []
        self.certain = False


_Items = tuple["_Node[R] | _Rest[R]", ...]


class _State(Generic[R]):
    __slots__ = ("found", "is_end", "items", "known", "next", "other")

    def __init__(self, items: _Items[R]) -> None:
        nodes = [item for item in items if isinstance(item, _Node)]
        literals = [node.literals for node in nodes if node.literals]
        self.items = items
        self.next: dict[str, _State[R]] = {}
        self.other: _State[R] | None = None
        """Where any segment goes that is neither empty nor a literal here."""
        self.known: Container[str] = literals[0] if len(literals) == 1 else frozenset().union(*literals)
        self.is_end = not nodes
        self.found = _routes(items)


class PathTree(Generic[R]):
    """Paths to routes. Routes of one shape must be added best first; all of them before the first `find`."""

    def __init__(self) -> None:
        self._root: _Node[R] = _Node()
        self._nodes = 1
        self._depth = 1
        self._literal: dict[str, tuple[R, ...]] = {}
        self._literal_paths: set[str] = set()
        self._states: dict[_Items[R], _State[R]] = {}
        self._start: _State[R] | None = None

    def add(self, pattern: Pattern, route: R, certain: bool) -> None:
        """`certain`: the route takes every request with such a path."""
        node = self._root
        for segment in pattern.segments:
            node = self._child(node, segment)
        self._depth = max(self._depth, len(pattern.segments) + 1)
        if pattern.rest:
            node.rest = node.rest or _Rest()
            node.rest.routes.append(route)
            node.rest.certain |= certain
        else:
            node.here.append(route)
        if pattern.literal is not None:
            self._literal_paths.add(pattern.literal)

    def find(self, path: str) -> tuple[R, ...]:
        """The routes whose pattern matches, best first."""
        found = self._literal.get(path)
        if found is not None:
            return found
        state = self._start or self._begin()
        for segment in path[1:].split("/", self._depth):
            after = state.next.get(segment)
            if after is None:
                if state.other is None or not segment or segment in state.known:
                    after = self._step(state, segment)
                else:
                    after = state.other
            state = after
            if state.is_end:
                break
        if path in self._literal_paths:
            self._literal[path] = state.found
        return state.found

    def pieces(self) -> list[object]:
        """All that it is made of, each behind what holds it."""
        nodes = [self._root]
        for node in nodes:
            nodes += node.literals.values()
            if node.param is not None:
                nodes.append(node.param)
        return [*self._states.values(), *nodes]

    def stats(self) -> dict[str, int]:
        return {"nodes": self._nodes, "states": len(self._states), "states_max": self._states_max}

    @property
    def _states_max(self) -> int:
        return 4 * self._nodes + _SPARE_STATES

    def _child(self, node: _Node[R], segment: str | None) -> _Node[R]:
        child = node.param if segment is None else node.literals.get(segment)
        if child is None:
            child = _Node()
            self._nodes += 1
            if segment is None:
                node.param = child
            else:
                node.literals[segment] = child
        return child

    def _begin(self) -> _State[R]:
        self._start = self._state((self._root,))
        return self._start

    def _step(self, state: _State[R], segment: str) -> _State[R]:
        after = self._state(_after(state.items, segment))
        if segment == "" or segment in state.known:
            state.next[segment] = after
        else:
            state.other = after
        return after

    def _state(self, items: _Items[R]) -> _State[R]:
        state = self._states.get(items)
        if state is None:
            if len(self._states) >= self._states_max:
                self._states.clear()
                self._start = None
            state = self._states[items] = _State(items)
        return state


def _after(items: _Items[R], segment: str) -> _Items[R]:
    """What the items become by one more segment: literal, parameter, rest; nothing after a certain rest."""
    kept: list[_Node[R] | _Rest[R]] = []
    for item in items:
        rest: _Rest[R] | None
        if isinstance(item, _Rest):
            rest = item
        else:
            literal = item.literals.get(segment)
            if literal is not None:
                kept.append(literal)
            if segment and item.param is not None:
                kept.append(item.param)
            rest = item.rest
        if rest is not None:
            kept.append(rest)
            if rest.certain:
                break
    return tuple(kept)


def _routes(items: _Items[R]) -> tuple[R, ...]:
    found: list[R] = []
    for item in items:
        if isinstance(item, _Node):
            found += item.here
            item_rest = item.rest
        else:
            item_rest = item
        if item_rest is not None:
            found += item_rest.routes
    return tuple(found)
