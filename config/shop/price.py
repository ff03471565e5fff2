"""What an American put option is worth: Python that computes, on an executor of processes.

A loop like the one below holds Python's global lock (the GIL) for as long as it runs. In a thread it would slow down
all that runs beside it, the event loop too; in a process of its own it slows down nobody.
"""

import os
from math import exp, isfinite, sqrt

from gateway import Request, Response

STEPS = 400
"""Of the binomial tree; the work grows with the square of it, here to some 30 ms."""
TERMS = ("spot", "strike", "years", "volatility", "rate")


def quote(request: Request) -> Response:
    """Answer {"spot": 100, "strike": 105, "years": 0.5, "volatility": 0.2, "rate": 0.03} with a price."""
    asked = request.json()  # what is not JSON is answered with 400 here
    try:
        terms = [float(asked[name]) for name in TERMS]
    except (KeyError, TypeError, ValueError):
        terms = [0.0]
    if not all(isfinite(term) and term > 0 for term in terms):
        return Response(status=422, json={"error": f"needs numbers above 0: {', '.join(TERMS)}"})
    return Response(json={"price": round(american_put(*terms), 4), "process": os.getpid()})


def american_put(spot: float, strike: float, years: float, volatility: float, rate: float) -> float:
    """By the binomial tree of Cox, Ross and Rubinstein (1979)."""
    step = years / STEPS
    up = exp(volatility * sqrt(step))
    chance = (exp(rate * step) - 1 / up) / (up - 1 / up)
    discount = exp(-rate * step)
    worth = [max(0.0, strike - spot * up ** (2 * ups - STEPS)) for ups in range(STEPS + 1)]
    for level in reversed(range(STEPS)):
        for ups in range(level + 1):
            held = discount * (chance * worth[ups + 1] + (1 - chance) * worth[ups])
            worth[ups] = max(held, strike - spot * up ** (2 * ups - level))
    return worth[0]
