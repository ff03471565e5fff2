"""Asks what a fraud check thinks of an order, through an SDK that blocks: a plugin, on threads of its own.

While a call waits, its thread waits; the event loop and everybody else's requests go on.
"""

import time

from gateway import Request, Response


class FraudCheck:
    """As such SDKs are: a call comes back when the other side has answered."""

    def score(self, item: str, quantity: int) -> float:
        """From 0 (go on) to 1 (fraud)."""
        time.sleep(0.05)  # its network
        return min(1.0, quantity / 1000 + ("gift card" in item) * 0.5)


sdk = FraudCheck()  # made once in each worker, when this file is imported
LIMIT = 0.8


def check(request: Request) -> Response | None:
    """A Response is the answer; None lets the request go on, here with a header more."""
    order = request.json()
    if not isinstance(order, dict) or not isinstance(order.get("quantity"), int):
        return None  # not an order: what the upstream says to that is its matter
    score = sdk.score(str(order.get("item")), order["quantity"])
    if score >= LIMIT:
        return Response(status=403, json={"error": "this order looks like fraud", "score": score})
    request.headers["x-fraud-score"] = f"{score:.2f}"
    return None
