"""Which balancer an upstream uses."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BalanceSettings:
    """`kind` is a name of the registry.

    `hash_on` is for consistent_hash: `ip`, `path`, `header:<name>`, `cookie:<name>`.
    """

    kind: str = "least_loaded"
    hash_on: str = ""
