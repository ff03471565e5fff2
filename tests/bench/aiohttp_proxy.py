"""The proxy an ordinary aiohttp user writes: web.Application in front, ClientSession behind, default settings."""

import argparse
import asyncio
import json
import logging
import ssl
import time
import uuid

import aiohttp
from aiohttp import web

HOP_BY_HOP = frozenset(
    "connection keep-alive proxy-connection te trailer transfer-encoding upgrade proxy-authenticate".split()
)
SMALL = 64 * 1024

log = logging.getLogger("access")


def end_to_end(headers):
    return [(name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP]


async def answer_with(request, answer, headers):
    """Small bodies in one piece, others as they come."""
    if (answer.content_length or SMALL + 1) <= SMALL:
        response = web.Response(status=answer.status, headers=headers, body=await answer.read())
        await response.prepare(request)
        await response.write_eof()
        return response
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


async def proxy(request):
    started = time.perf_counter()
    request_id = uuid.uuid4().hex
    headers = aiohttp.typedefs.CIMultiDict(end_to_end(request.headers))
    headers["X-Forwarded-For"] = request.remote
    headers["X-Forwarded-Proto"] = request.scheme
    headers["X-Forwarded-Host"] = request.host
    headers["X-Request-Id"] = request_id
    async with request.app["session"].request(
        request.method,
        request.app["upstream"] + request.raw_path,
        headers=headers,
        data=request.content if request.can_read_body else None,
        allow_redirects=False,
    ) as answer:
        head = aiohttp.typedefs.CIMultiDict(end_to_end(answer.headers))
        head["X-Request-Id"] = request_id
        response = await answer_with(request, answer, head)
    log.info(
        json.dumps(
            {
                "ts": time.time(),
                "request_id": request_id,
                "client_ip": request.remote,
                "method": request.method,
                "scheme": request.scheme,
                "host": request.host,
                "path": request.path,
                "upstream": "origin",
                "status": response.status,
                "bytes_in": request.content_length or 0,
                "bytes_out": answer.content_length or 0,
                "duration_ms": (time.perf_counter() - started) * 1000,
                "user_agent": request.headers.get("User-Agent"),
            }
        )
    )
    return response


async def session(app):
    async with aiohttp.ClientSession(auto_decompress=False) as made:
        app["session"] = made
        yield


async def serve(options):
    app = web.Application(client_max_size=10 * 1024 * 1024)
    app["upstream"] = options.upstream
    app.router.add_route("*", "/{path:.*}", proxy)
    app.cleanup_ctx.append(session)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.http, backlog=4096).start()
    for listener in options.tls:
        port, cert, key = listener.split(",")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(cert, key)
        await web.TCPSite(runner, "127.0.0.1", int(port), backlog=4096, ssl_context=tls).start()
    return app


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--http", type=int, required=True)
    parser.add_argument("--tls", action="append", default=[], help="PORT,CERT,KEY")
    options = parser.parse_args()
    logging.basicConfig(filename=options.log, format="%(message)s", level=logging.INFO)
    with asyncio.Runner() as runner:
        runner.run(serve(options))
        runner.get_loop().run_forever()


if __name__ == "__main__":
    main()
