"""What a route matches on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MatchSettings:
    """Conditions of a route. Empty means any.

    paths: patterns of segments, `{param}` and a trailing `/*`. hosts: exact or `*.example.com`, lower case, no port.
    headers and query: name to a required value, or `*` for any value (the name must be present).
    """

    paths: tuple[str, ...]
    methods: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
