"""Sends the request of a feature as its curl line would, and gives back what came."""

import asyncio
import re
import time
from contextlib import suppress

from aiohttp import ClientError, ClientSession, StreamReader
from yarl import URL

from gateway.demo.features import Answer, Feature

MOST_S = 10.0
"""One request that is no stream; the slowest of the demo is cut off after 300 ms."""
SETTLE_S = 3.0
"""The counters behind the admin address are at most 1 s old."""


async def check(feature: Feature, base: str) -> str:
    """What is not as the feature says; empty when all is."""
    deadline = time.monotonic() + (SETTLE_S if feature.admin else 0)
    while True:
        try:
            wrong = feature.differs(await send(feature, base))
        except (OSError, EOFError, ClientError) as error:
            wrong = f"{type(error).__name__}: {error}"
        if not wrong or time.monotonic() > deadline:
            return wrong
        await asyncio.sleep(0.1)


async def send(feature: Feature, base: str) -> list[Answer]:
    """The answers, in order."""
    if feature.kind == "websocket":
        return [await _handshake(feature, base)]
    async with ClientSession() as session:
        return [await _once(session, feature, url) for url in feature.urls(base)]


async def _once(session: ClientSession, feature: Feature, url: str) -> Answer:
    request = session.request(
        feature.method,
        URL(url, encoded=True),
        headers=dict(feature.send),
        data=feature.data.encode() or None,
        allow_redirects=False,
    )
    async with asyncio.timeout(MOST_S), request as response:
        body = await (_part(response.content, feature) if feature.kind == "stream" else response.text())
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, body)


async def _part(source: StreamReader | asyncio.StreamReader, feature: Feature) -> str:
    """The stream up to where it has all that it must, or as far as it came in the feature's time."""
    body = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(feature.seconds):
            while not all(re.search(pattern, body.decode(errors="replace")) for pattern in feature.body):
                if not (piece := await source.read(65536)):
                    break
                body += piece
    return body.decode(errors="replace")


async def _handshake(feature: Feature, base: str) -> Answer:
    """The head of the answer to an upgrade, and what comes after it up to where it has all that it must."""
    url = URL(base)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    fields = "".join(f"{name}: {value}\r\n" for name, value in feature.send)
    writer.write(f"GET {feature.path} HTTP/1.1\r\nHost: {url.authority}\r\n{fields}\r\n".encode())
    try:
        async with asyncio.timeout(MOST_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        body = await _part(reader, feature)
    finally:
        writer.close()
    status, *lines = head.rstrip().split("\r\n")
    named = (line.partition(":") for line in lines)
    return Answer(int(status.split()[1]), {name.lower(): value.strip() for name, _, value in named}, body)
