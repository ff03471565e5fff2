"""The four services that a portfolio of the demo comes from: one is slow, one fails now and then."""

import asyncio
import itertools

from aiohttp import web

from gateway.demo.answers import answer, start_price

RISK_S = 0.3
NEWS_FAILS_EVERY = 3
HELD = {"ACME": 12, "GLOBEX": 5}


class Portfolio:
    """What is known of a person called {user}; every address answers all of it."""

    def __init__(self) -> None:
        self._asked_for_news = itertools.count(1)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/users/{user}", self.account),
            web.get("/holdings/{user}", self.holdings),
            web.get("/risk/{user}", self.risk),
            web.get("/news/{region}", self.news),
        ]

    async def account(self, request: web.Request) -> web.Response:
        return answer({"name": request.match_info["user"].title(), "region": "emea", "currency": "EUR"})

    async def holdings(self, request: web.Request) -> web.Response:
        held = [{"symbol": symbol, "count": count, "price": start_price(symbol)} for symbol, count in HELD.items()]
        return answer({"as_of": "today", "data": held})

    async def risk(self, request: web.Request) -> web.Response:
        await asyncio.sleep(RISK_S)
        return answer({"rating": "moderate"})

    async def news(self, request: web.Request) -> web.Response:
        if next(self._asked_for_news) % NEWS_FAILS_EVERY == 0:
            return answer({"error": "the news desk is at lunch"}, 503)
        return answer({"headlines": [f"markets calm in {request.match_info['region']}"]})
