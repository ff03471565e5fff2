"""What is counted of the aggregates of one route."""

from gateway.observe.registry import Registry


class AggregateCounts:
    """Series begin with the first of their kind."""

    __slots__ = ("_registry", "_responses", "_route", "_sources")

    def __init__(self, route: str, registry: Registry) -> None:
        self._route = route
        self._registry = registry
        self._sources: dict[tuple[str, str], int] = {}
        self._responses: dict[str, int] = {}

    def source(self, name: str, reason: str | None) -> None:
        """A source ended: with a value, or for a reason of the closed list."""
        key = (name, reason or "ok")
        cell = self._sources.get(key)
        if cell is None:
            cell = self._sources[key] = self._registry.counter(
                "gateway_aggregate_sources_total", route=self._route, source=name, outcome=key[1]
            )
        self._registry.cells[cell] += 1.0

    def response(self, completeness: str) -> None:
        """An answer was made: full, partial or failed."""
        cell = self._responses.get(completeness)
        if cell is None:
            cell = self._responses[completeness] = self._registry.counter(
                "gateway_aggregate_responses_total", route=self._route, completeness=completeness
            )
        self._registry.cells[cell] += 1.0
