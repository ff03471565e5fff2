"""Asks two upstreams at once: an `async def` runs on the event loop itself, where waiting costs nothing.

`request.gateway.fetch` asks as a route does: balanced, over the same connections, with what is left of the deadline.
"""

import asyncio
from urllib.parse import quote

from gateway import FetchError, Request, Response


async def compare(request: Request) -> Response:
    """The price of a symbol in this version and in the next."""
    path = f"/q/{quote(request.params['symbol'], safe='')}"
    ask = request.gateway.fetch
    try:
        now, soon = await asyncio.gather(ask("quotes", path), ask("quotes-next", path))
    except FetchError as error:
        return Response(status=502, json={"error": error.detail})
    return Response(json={"now": now.json()["price"], "next": soon.json()["price"]})
