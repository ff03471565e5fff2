"""Every balancer by its name in the config. To add one: a file, a line here."""

from collections.abc import Callable

from gateway.decide.balance.consistent_hash import ConsistentHash
from gateway.decide.balance.least_loaded import LeastLoaded
from gateway.decide.balance.peak_ewma import PeakEwma
from gateway.decide.balance.protocol import Balancer, Rng
from gateway.decide.balance.random import Random
from gateway.decide.balance.round_robin import RoundRobin
from gateway.decide.balance.settings import BalanceSettings
from gateway.decide.balance.two_choices import TwoChoices

BALANCERS: dict[str, Callable[[Rng], Balancer]] = {
    "least_loaded": LeastLoaded,
    "round_robin": RoundRobin,
    "random": Random,
    "two_choices": TwoChoices,
    "peak_ewma": PeakEwma,
    "consistent_hash": ConsistentHash,
}


def make_balancer(settings: BalanceSettings, rng: Rng) -> Balancer:
    """The balancer of one upstream. Raises ValueError for a name that is not in the registry."""
    maker = BALANCERS.get(settings.kind)
    if maker is None:
        raise ValueError(f"there is no balancer {settings.kind!r}; there are {', '.join(BALANCERS)}")
    return maker(rng)
