"""Time. Durations are measured on the monotonic clock, so setting the wall clock changes no timeout."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds, from an arbitrary start; never goes backwards."""

monotonic: Clock = time.monotonic
