"""The Python of plugins.yaml."""

import time
from hmac import compare_digest

from gateway import Request, Response

KEYS = {"k-123": "acme", "k-456": "globex"}
LIMIT = 10_000


class Timing:
    """Says in a header how long the answer took."""

    async def on_request(self, request: Request) -> None:
        request.state["began"] = time.perf_counter()

    async def on_response(self, request: Request, response: Response) -> None:
        took_ms = (time.perf_counter() - request.state["began"]) * 1000
        response.headers["server-timing"] = f"gateway;dur={took_ms:.1f}"


async def api_key(request: Request) -> Response | None:
    """Who asks? A Response ends the request; None lets it pass."""
    given = request.headers.get("x-api-key", "") or ""
    customer = next((name for key, name in KEYS.items() if compare_digest(key.encode(), given.encode())), None)
    if customer is None:
        return Response(status=401, json={"error": "x-api-key is missing or unknown"})
    request.state["customer"] = customer
    request.headers["x-customer"] = customer  # the upstream sees it
    return None


def fraud(request: Request) -> Response | None:
    """A plain def may block: it holds a thread of its executor and nobody else's traffic."""
    time.sleep(0.02)  # the call into a blocking SDK
    if request.json().get("amount", 0) > LIMIT:
        return Response(status=403, json={"error": "this order needs a call"})
    return None


def segment(request: Request) -> None:
    """Nice to have: on_error: allow."""
    request.headers["x-segment"] = "trial" if request.state["customer"].startswith("a") else "paid"
