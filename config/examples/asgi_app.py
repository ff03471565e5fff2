"""The application of asgi.yaml (pip install fastapi)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

ITEMS: dict[int, str] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    ITEMS.update({7: "a lamp"})
    yield
    ITEMS.clear()


app = FastAPI(lifespan=lifespan)


@app.get("/items/{number}")
async def item(number: int) -> dict[str, str | None]:
    return {"item": ITEMS.get(number)}


@app.get("/count")
async def count() -> StreamingResponse:
    async def numbers() -> AsyncIterator[str]:
        for number in range(5):
            yield f"{number}\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(numbers(), media_type="text/plain")


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)
