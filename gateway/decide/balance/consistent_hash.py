"""The same key to the same target, as far as loads allow.

Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights by Schindelhauer and Schomaker 2005): every target has
a score for every key and the highest is taken, so a target that leaves moves only its own keys and one that joins
takes only its share. No target holds more than 1.25 times its share of the requests in flight; the next best takes
what is beyond (Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads, Google 2017).
"""

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from zlib import crc32

from gateway.decide.balance.least_loaded import LeastLoaded
from gateway.decide.balance.protocol import L, Rng, Silent

BOUND = 1.25
"""The balance between even load and keys that stay; HAProxy's documentation advises 1.25 to 2."""

_MASK = (1 << 64) - 1
_FRACTION = 2.0**-52
"""A double holds 52 bits and a half exactly, so that the hash becomes a number above 0 and below 1."""


class ConsistentHash(Silent):
    """Requests without a key go to the least loaded. O(n). Gives the same answer in every process."""

    wants_key = True

    def __init__(self, rng: Rng) -> None:
        self._seeds: dict[str, int] = {}
        self._keyless = LeastLoaded(rng)

    def pick(self, candidates: Sequence[L], key: str | None, now: float) -> L:
        if len(candidates) == 1:
            return candidates[0]
        if not key:
            return self._keyless.pick(candidates, key, now)
        of_key = crc32(key.encode("utf-8", "surrogatepass"))
        in_flight = weights = 0
        for target in candidates:
            in_flight += target.in_flight
            weights += target.weight
        room = BOUND * (in_flight + 1) / weights
        best = candidates[0]
        highest = 0.0
        for target in candidates:
            if target.in_flight < room * target.weight:
                score = self._score(of_key, target)
                if score > highest:
                    best, highest = target, score
        return best

    def _score(self, of_key: int, target: L) -> float:
        """A number from the key and the target whose highest falls to each target by its weight."""
        seed = self._seeds.get(target.key)
        if seed is None:
            seed = self._remember(target.key)
        mixed = (of_key ^ seed) * 0xFF51AFD7ED558CCD & _MASK
        mixed = (mixed ^ mixed >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
        return -target.weight / log(((mixed ^ mixed >> 33) >> 12) * _FRACTION + _FRACTION / 2)

    def _remember(self, name: str) -> int:
        """The hash of a target's name. Forgotten when there are very many: names that come from DNS change."""
        if len(self._seeds) >= 4096:
            self._seeds.clear()
        seed = int.from_bytes(blake2b(name.encode(), digest_size=8).digest())
        self._seeds[name] = seed
        return seed
