"""A FastAPI application, as people write them, with what a test needs to look into it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from pydantic import BaseModel


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    note("began")
    yield {"database": "open"}
    note("ended")


def note(text: str) -> None:
    with Path("lives.txt").open("a") as file:  # in the directory that the gateway runs in
        file.write(f"{text}\n")


app = FastAPI(lifespan=lifespan)
notes: list[str] = []
gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


class Order(BaseModel):
    symbol: str
    quantity: int


@app.get("/hello/{name}")
async def hello(name: str, request: Request) -> dict[str, Any]:
    assert request.client is not None
    return {"hello": name, "ip": request.client.host, "database": request.state.database, "url": str(request.url)}


@app.get("/blocking/{name}")
def blocking(name: str) -> dict[str, str]:
    return {"hello": name}


@app.post("/orders")
async def order(order: Order) -> Order:
    return order


@app.post("/size")
async def size(request: Request) -> dict[str, int]:
    total = most = 0
    async for piece in request.stream():
        total += len(piece)
        most = max(most, len(piece))
    return {"total": total, "most": most}


@app.post("/unread")
async def unread(request: Request) -> dict[str, int]:
    """Reads nothing until the gate opens."""
    await gates["unread"].wait()
    gates["unread"].clear()
    return {"total": len(await request.body())}


@app.post("/echo")
async def echo(request: Request) -> StreamingResponse:
    return StreamingResponse(request.stream(), media_type="application/octet-stream")


@app.get("/gated/{name}")
async def gated(name: str) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        try:
            for number in range(3):
                yield f"{number} of {name}\n"
                await gates[name].wait()
                gates[name].clear()
        finally:
            notes.append(f"gated {name} ended")

    return StreamingResponse(lines(), media_type="text/plain")


@app.post("/open/{name}")
async def open_gate(name: str) -> str:
    gates[name].set()
    return "open"


made = 0


@app.get("/large/{mib}")
async def large(mib: int) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        global made  # noqa: PLW0603
        made = 0
        for number in range(mib * 16):
            made += 1
            yield bytes([number % 251]) * 65536

    return StreamingResponse(pieces(), media_type="application/octet-stream")


@app.get("/behind")
async def behind(tasks: BackgroundTasks) -> str:
    async def later() -> None:
        await gates["behind"].wait()
        notes.append("behind done")

    tasks.add_task(later)
    return "answered"


@app.get("/notes")
async def tell_notes() -> dict[str, Any]:
    return {"notes": notes, "made": made}


@app.get("/raises")
async def raises() -> None:
    raise LookupError("a secret detail")


@app.get("/teapot")
async def teapot() -> None:
    raise HTTPException(418, "short and stout")


@app.websocket("/echo")
async def echo_messages(socket: WebSocket) -> None:
    await socket.accept(subprotocol=next(iter(socket.scope["subprotocols"]), None), headers=[(b"x-mine", b"1")])
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                notes.append(f"closed {message['code']} {message.get('reason')}")
                return
            if message.get("text") == "close":
                await socket.close(4001, "as asked")
                return
            if message.get("text") == "raise":
                raise LookupError("a secret detail")
            if message.get("text") == "return":
                return
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect as left:
        notes.append(f"left {left.code}")


@app.websocket("/refused")
async def refused(socket: WebSocket) -> None:
    await socket.close()


@app.websocket("/denied")
async def denied(socket: WebSocket) -> None:
    raise HTTPException(401, "who are you?", {"WWW-Authenticate": "Basic"})


@app.websocket("/raises")
async def raises_first(socket: WebSocket) -> None:
    raise LookupError("a secret detail")


@app.websocket("/mute/{name}")
async def mute(socket: WebSocket, name: str) -> None:
    """Receives nothing until the gate opens, then tells how much came."""
    await socket.accept()
    await gates[name].wait()
    total = 0
    while (message := await socket.receive_bytes()) != b"end":
        total += len(message)
    await socket.send_text(str(total))
    await socket.close()


@app.websocket("/pours")
async def pours(socket: WebSocket) -> None:
    global made  # noqa: PLW0603
    made = 0
    await socket.accept()
    for _ in range(256):
        await socket.send_bytes(bytes(65536))
        made += 1
    await socket.close()
