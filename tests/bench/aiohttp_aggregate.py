"""The aggregate that an aiohttp user writes: web.Application, ClientSession, `gather`, orjson; without access log."""

import argparse
import asyncio
import uuid

import aiohttp
import orjson
import uvloop
from aiohttp import web


async def fetch(request, url, headers):
    async with request.app["session"].get(url, headers=headers) as answer:
        answer.raise_for_status()
        return orjson.loads(await answer.read())


async def portfolio(request):
    user = request.match_info["user"]
    headers = {"X-Request-Id": uuid.uuid4().hex, "X-Forwarded-For": request.remote, "X-Forwarded-Proto": request.scheme}
    urls = [f"{request.app['upstream']}/s{number}/{user}" for number in range(request.app["sources"])]
    async with asyncio.timeout(2):
        results = await asyncio.gather(*[fetch(request, url, headers) for url in urls], return_exceptions=True)
    merged = {f"s{n}": result for n, result in enumerate(results) if not isinstance(result, Exception)}
    complete = "true" if len(merged) == len(results) else "false"
    headers = {"X-Gateway-Complete": complete, "X-Request-Id": headers["X-Request-Id"]}
    return web.Response(body=orjson.dumps(merged), content_type="application/json", headers=headers)


async def session(app):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as made:
        app["session"] = made
        yield


async def serve(options):
    app = web.Application()
    app["upstream"] = options.upstream
    app["sources"] = options.sources
    app.router.add_get("/portfolio/{user}", portfolio)
    app.cleanup_ctx.append(session)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.port, backlog=4096).start()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--sources", type=int, required=True)
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if options.uvloop else None) as runner:
        runner.run(serve(options))
        runner.get_loop().run_forever()


if __name__ == "__main__":
    main()
