"""What the parts of `/status` take out of a reading."""

from collections import defaultdict

from gateway.admin.totals import Distribution, Labels, Reading
from gateway.observe.metrics import FAMILIES


def sums(reading: Reading, name: str, *labels: str) -> defaultdict[Labels, float]:
    """Values of the family summed over all labels but these."""
    places = [FAMILIES[name].labels.index(label) for label in labels]
    found: defaultdict[Labels, float] = defaultdict(float)
    for values, n in reading.values(name):
        found[tuple(values[place] for place in places)] += n
    return found


def quantile_ms(duration: Distribution | None, share: float) -> float | None:
    """None where nothing was measured."""
    value = duration.quantile(share) if duration else None
    return None if value is None else round(value * 1000, 2)
