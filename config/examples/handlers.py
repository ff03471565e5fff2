"""The Python of handlers.yaml."""

import random
import sqlite3
from collections.abc import Iterator
from math import exp, sqrt
from typing import Any

from gateway import FetchError, Request, Response

PATHS = 20_000


def price(request: Request) -> dict[str, float]:
    """A call option by Monte Carlo: Python that computes, so it runs in a process."""
    asked = request.json()
    spot, strike = float(asked["spot"]), float(asked["strike"])
    volatility, years = float(asked.get("volatility", 0.2)), float(asked.get("years", 1.0))
    drift, spread = -0.5 * volatility**2 * years, volatility * sqrt(years)
    rng = random.Random(7)
    paid = sum(max(0.0, spot * exp(drift + spread * rng.gauss(0.0, 1.0)) - strike) for _ in range(PATHS))
    return {"price": round(paid / PATHS, 4)}


def stock(request: Request) -> Response:
    """A blocking driver: Python that waits, so it runs in a thread."""
    with sqlite3.connect(":memory:") as database:
        database.execute("create table stock as select '7' as item, 42 as pieces")
        found = database.execute("select pieces from stock where item = ?", [request.params["item"]]).fetchone()
    if found is None:
        return Response(status=404, json={"error": f"no item {request.params['item']}"})
    return Response(json={"pieces": found[0]}, headers={"cache-control": "max-age=5"})


async def order(request: Request) -> dict[str, Any]:
    """Asks an upstream of the config, which is balanced and timed as a route to it would be."""
    path = f"/orders/{request.params['id']}"
    try:
        fetched = await request.gateway.fetch("orders", path, timeout_s=0.5)
    except FetchError as error:
        return {"order": None, "why": error.reason}
    return {"order": fetched.json() if fetched.status == 200 else None}


def report(request: Request) -> Response:
    """A body in pieces: each is made when the one before it was taken."""
    return Response(_rows(), headers={"content-type": "text/csv"})


def _rows() -> Iterator[bytes]:
    yield b"item,pieces\n"
    for item in range(1000):
        yield b"%d,%d\n" % (item, item * item)
