"""The real services behind the demo: orders, quotes, ticks, portfolio. One process each, on one or more addresses.

`python -m gateway.demo.upstreams orders orders-1=127.0.0.1:9101 orders-2=fd:5`: every address serves the same data and
says its own name in `x-served-by`, so that balancing and splits can be seen.
"""

import asyncio
import itertools
import random
import signal
import socket
import sys
from collections.abc import Iterator

from aiohttp import web

from gateway.core.address import Address, parse_address
from gateway.core.json import JSONDecodeError, dumps, loads
from gateway.demo.answers import answer, start_price
from gateway.demo.portfolio import Portfolio

TICK_S = 0.2
SLOW_S = 5.0
MOST_ORDERS = 10_000
"""The oldest goes then, so that a load test of the demo does not fill the memory."""


class Orders:
    """Orders in memory; the first is there from the start."""

    def __init__(self) -> None:
        self._next = itertools.count(2)
        self._orders: dict[str, object] = {"1": {"id": "1", "item": "lamp", "quantity": 1}}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/orders", self.place),
            web.get("/orders/{id}", self.show),
            web.get("/echo", self.echo),
            web.get("/slow", self.slow),
        ]

    async def place(self, request: web.Request) -> web.Response:
        try:
            wanted = loads(await request.read())
        except JSONDecodeError:
            return answer({"error": "an order is a JSON object"}, 400)
        if not isinstance(wanted, dict) or not isinstance(wanted.get("item"), str):
            return answer({"error": "an order needs an item"}, 422)
        number = str(next(self._next))
        order = {"id": number, "item": wanted["item"], "quantity": wanted.get("quantity", 1)}
        if score := request.headers.get("x-fraud-score"):
            order["fraud_score"] = score
        self._orders[number] = order
        if len(self._orders) > MOST_ORDERS:
            del self._orders[next(iter(self._orders))]
        return answer(order, 201, Location=f"/orders/{number}")

    async def show(self, request: web.Request) -> web.Response:
        order = self._orders.get(request.match_info["id"])
        return answer(order) if order else answer({"error": "no such order"}, 404)

    async def echo(self, request: web.Request) -> web.Response:
        """What arrived here: the request as the gateway passed it on."""
        fields = [[name, value] for name, value in request.headers.items()]
        return answer({"method": request.method, "target": request.raw_path, "headers": fields})

    async def slow(self, request: web.Request) -> web.Response:
        await asyncio.sleep(SLOW_S)
        return answer({"late": True})


class Quotes:
    """A price for every symbol, the same each time."""

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/q/{symbol}", self.quote)]

    async def quote(self, request: web.Request) -> web.Response:
        symbol = request.match_info["symbol"].upper()
        return answer({"symbol": symbol, "price": start_price(symbol), "from": request.app[NAME]})


class Ticks:
    """A moving price: as an event stream, and as a WebSocket that also answers what it is sent."""

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/ticks/{symbol}", self.events), web.get("/ws", self.websocket)]

    async def events(self, request: web.Request) -> web.StreamResponse:
        symbol = request.match_info["symbol"].upper()
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await stream.prepare(request)
        for number, price in enumerate(prices(symbol)):
            tick = dumps({"symbol": symbol, "price": price}).decode()
            await stream.write(f"id: {number}\ndata: {tick}\n\n".encode())
            await asyncio.sleep(TICK_S)
        return stream

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        talk = web.WebSocketResponse()
        await talk.prepare(request)
        await talk.send_str(dumps({"hello": request.app[NAME]}).decode())
        async for message in talk:
            if message.type is web.WSMsgType.TEXT:
                await talk.send_str(dumps({"echo": message.data}).decode())
        return talk


NAME = web.AppKey("name", str)
KINDS: dict[str, type[Orders] | type[Quotes] | type[Ticks] | type[Portfolio]] = {
    "orders": Orders,
    "quotes": Quotes,
    "ticks": Ticks,
    "portfolio": Portfolio,
}


def prices(symbol: str) -> Iterator[float]:
    """An endless walk from the symbol's price."""
    walk, price = random.Random(symbol), start_price(symbol)
    while True:
        yield round(price, 2)
        price = max(1.0, price + walk.uniform(-0.5, 0.5))


def application(name: str, routes: list[web.RouteDef]) -> web.Application:
    async def sign(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Served-By"] = name

    app = web.Application()
    app[NAME] = name
    app.on_response_prepare.append(sign)
    app.add_routes([*routes, web.get("/healthz", ok)])
    return app


async def ok(request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def listening(address: Address) -> socket.socket:
    if address.fd >= 0:
        return socket.socket(fileno=address.fd)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family)


async def serve(kind: str, addresses: dict[str, Address]) -> None:
    """Serves until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    routes = KINDS[kind]().routes()
    runners = []
    for name, address in addresses.items():
        runner = web.AppRunner(application(name, routes), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.SockSite(runner, listening(address)).start()
        runners.append(runner)
    await stop.wait()
    await asyncio.gather(*(runner.cleanup() for runner in runners))


def main(words: list[str]) -> None:
    named = [word.partition("=") for word in words[1:]]
    if not named or words[0] not in KINDS or not all(address for _, _, address in named):
        sys.exit(f"usage: python -m gateway.demo.upstreams {'|'.join(KINDS)} NAME=ADDRESS ...")
    try:
        addresses = {name: parse_address(address) for name, _, address in named}
        asyncio.run(serve(words[0], addresses))
    except (ValueError, OSError) as error:
        sys.exit(f"{words[0]}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
