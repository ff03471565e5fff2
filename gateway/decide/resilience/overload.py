"""When a worker as a whole has too much to do, and what share of new requests it refuses then.

Load is what was measured over its threshold, whatever the measure: 1 is the threshold. The share grows with how far
and how long load stands above it and shrinks below it, up quickly and down slowly, as the admission level of DAGOR
does (Zhou et al., Overload Control for Scaling WeChat Microservices, SoCC 2018); load as a pressure of 0 to 1 is
that of Envoy's overload manager. It leaves below 80 % of the threshold, so that it does not swing there.

The lowest classes give up theirs first, as the business priorities of DAGOR: a class loses nothing while those of
lower weight still have something to lose.
"""

from typing import Final

from gateway.decide.resilience.overload_settings import OverloadSettings

SMOOTHING_S: Final = 0.5
"""Time constant of the smoothed lag: one late turn of the loop is no overload, late turns for a second are."""
STEP_S: Final = 0.1
"""The longest time that one measurement stands for: neither a long turn nor a stopped process leaps."""
GROWTH_S: Final = 1.0
"""The same for the growth of the share, once it has begun: long turns are what it is there for."""
LAG_CLIP: Final = 4.0
"""Thresholds that one measurement of lag counts for, at most: one turn, however long, begins nothing."""
LEAVE: Final = 0.8
"""Of the threshold; below it is over."""
FIRST: Final = 0.1
"""The share that it begins with, and by which it grows each second at the threshold itself."""
GROWTH: Final = 1.0
"""Growth of the share each second for each threshold that load stands above the threshold."""
DECREASE: Final = 0.2
"""Of the share each second, below the threshold; down to FIRST."""
RECOVERY: Final = 0.5
"""Of the share each second, below LEAVE; down to 0, where it is over."""
MOST: Final = 0.95
"""Some are always taken, or lag would say nothing of what requests cost."""
MIX_S: Final = 1.0
"""Time constant of the mix of classes that the share is spread over."""
FEW: Final = 0.01
"""Requests of so long ago are forgotten."""
LOWEST: Final = 1
"""The least weight that a class has."""


class Overload:
    """The state of one worker; `share` of new requests is refused, 0 to MOST."""

    __slots__ = ("_credits", "_cut", "_cut_share", "_lag_s", "_mix", "_stepped_at", "cause", "refused", "share")

    def __init__(self) -> None:
        self._lag_s = 0.0
        self._stepped_at = -1.0
        self._credits: dict[int, float] = {}
        """Of each class: one is refused for each whole."""
        self._mix: dict[int, float] = {}
        """Requests of late, by the weight of their class."""
        self._cut = LOWEST
        """The class that loses `_cut_share`: lower ones lose all, higher ones nothing."""
        self._cut_share = 0.0
        self.share = 0.0
        self.refused = 0
        """Requests, since it began."""
        self.cause = ""
        """`loop_lag` or `memory`, whichever is higher above its threshold; empty while nothing is refused."""

    def step(self, now: float, lag_s: float, memory: float, settings: OverloadSettings) -> bool:
        """Take a measurement (`memory`: the share in use, 0 to 1); whether it began or ended with it."""
        elapsed_s = max(0.0, now - self._stepped_at) if self._stepped_at >= 0.0 else 0.0
        self._stepped_at = now
        lag = self._lag_load(lag_s, min(elapsed_s, STEP_S), settings.loop_lag_s)
        used = memory / settings.memory if settings.memory else 0.0
        before = bool(self.cause)
        if lag >= 1.0 or used >= 1.0:
            self.cause = "memory" if used > lag else "loop_lag"
            self._grow(max(lag, used), min(elapsed_s, GROWTH_S))
        elif before:
            self._shrink(max(lag, used), min(elapsed_s, STEP_S))
        if self.cause and not before:
            self.refused = 0
        if self.cause:
            self._spread(elapsed_s)
        return before != bool(self.cause)

    def _grow(self, load: float, elapsed_s: float) -> None:
        self.share = min(MOST, max(FIRST, self.share + elapsed_s * (FIRST + GROWTH * (load - 1.0))))

    def _shrink(self, load: float, elapsed_s: float) -> None:
        if load >= LEAVE:
            self.share = max(FIRST, self.share - elapsed_s * DECREASE)
        elif self.share > elapsed_s * RECOVERY:
            self.share -= elapsed_s * RECOVERY
        else:
            self.share = 0.0
            self._credits.clear()
            self._mix.clear()
            self.cause = ""

    def _spread(self, elapsed_s: float) -> None:
        """Find the class at which so many are refused that it is `share` of all."""
        left = self.share * sum(self._mix.values())
        self._cut, self._cut_share = LOWEST, self.share
        for weight in sorted(self._mix):
            asked = self._mix[weight]
            if left <= asked:
                self._cut, self._cut_share = weight, left / asked
                break
            left -= asked
        kept = MIX_S / (MIX_S + elapsed_s)
        self._mix = {weight: asked * kept for weight, asked in self._mix.items() if asked > FEW}

    def _lag_load(self, lag_s: float, elapsed_s: float, threshold_s: float | None) -> float:
        if not threshold_s:
            self._lag_s = 0.0
            return 0.0
        clipped_s = min(lag_s, LAG_CLIP * threshold_s)
        self._lag_s += (clipped_s - self._lag_s) * elapsed_s / (elapsed_s + SMOOTHING_S)
        return self._lag_s / threshold_s

    def refuses(self, weight: int = LOWEST) -> bool:
        """Whether to refuse the next request, of a class of this weight: evenly, so that it holds for any few."""
        self._mix[weight] = self._mix.get(weight, 0.0) + 1.0
        if weight > self._cut:
            return False
        credit = self._credits.get(weight, 0.0) + (self._cut_share if weight == self._cut else 1.0)
        refused = credit >= 1.0
        self._credits[weight] = credit - refused
        self.refused += refused
        return refused

    @property
    def retry_after_s(self) -> float:
        """How long the share takes to come down from where it is, at its slowest."""
        return self.share / DECREASE
