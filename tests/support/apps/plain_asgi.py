"""An ASGI application that no framework stands before: good and bad answers, by their path. It knows no lifespan."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

notes: list[str] = []
START = {"type": "http.response.start", "status": 200, "headers": []}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] not in ("http", "websocket"):
        raise RuntimeError("what is that?")
    path = scope["path"].removeprefix(scope["root_path"])
    await ANSWERS.get(path, tell_scope)(scope, receive, send)


async def answer(send: Send, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    await send({**START, "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def tell_scope(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, json.dumps(scope, default=lambda value: value.decode("latin-1")).encode())


async def tell_notes(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, json.dumps(notes).encode())


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass


async def half(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"so far ", "more_body": True})
    await asyncio.sleep(0.1)  # so that this much is under way


async def broken_off(scope: Scope, receive: Receive, send: Send) -> None:
    await half(scope, receive, send)
    raise LookupError("a secret detail")


async def started_only(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    raise LookupError("a secret detail")


async def too_short(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"short", (b"content-length", b"10"))


async def too_long(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"too long", (b"content-length", b"4"))


async def more_than_enough(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"enough")
    try:
        await send({"type": "http.response.body", "body": b"more"})
    except RuntimeError as error:
        notes.append(str(error))


async def out_of_order(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.body", "body": b"x"})


async def bad_head(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"", (b"x", b"1\r\nset-cookie: evil=1"))


async def bad_status(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"", status=99)


async def text(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": "text"})


async def no_content(scope: Scope, receive: Receive, send: Send) -> None:
    await send({**START, "status": 204, "headers": [(b"x-kept", b"1")]})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    await send({"type": "http.response.body"})


async def hop_by_hop(scope: Scope, receive: Receive, send: Send) -> None:
    names = (b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"x-request-id", b"date")
    mine = [(name, b"mine") for name in names]
    await answer(send, b"x", *mine, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"))


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        notes.append(f"{scope['path']} cancelled")
        raise


async def silent_behind_the_head(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"x", "more_body": True})
    await silent(scope, receive, send)


async def listens(scope: Scope, receive: Receive, send: Send) -> None:
    """Waits for its client to leave, in two tasks, and then tries to send."""
    heard = [await each for each in asyncio.as_completed([receive(), receive()])]
    while not heard[-1]["type"].endswith(".disconnect"):
        heard.append(await receive())
    notes.append(" ".join(message["type"] for message in heard))
    try:
        await answer(send, b"x")
    except OSError as error:
        notes.append(type(error).__name__)
        raise


async def never_satisfied(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes no end for an end."""
    await send(START)
    while True:
        await receive()


async def floods(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends for ever, and never listens."""
    await send(START)
    while True:
        await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})


async def wrong_close(scope: Scope, receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    try:
        await send({"type": "websocket.close", "code": 1006})
    except ValueError as error:
        notes.append(str(error))


async def accept_twice(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.accept"})


async def send_first(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.send", "text": "early"})


async def closes_and_waits(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 4002, "reason": "done"})
    for _ in range(2):
        left = await receive()
        notes.append(f"{left['type']} {left['code']}")
    try:
        await send({"type": "websocket.send", "text": "late"})
    except RuntimeError as error:
        notes.append(str(error))


async def mute(scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts and does nothing."""
    await send({"type": "websocket.accept"})
    await asyncio.Event().wait()


ANSWERS: dict[str, Callable[[Scope, Receive, Send], Awaitable[None]]] = {
    "/notes": tell_notes,
    "/nothing": nothing,
    "/half": half,
    "/broken-off": broken_off,
    "/started-only": started_only,
    "/too-short": too_short,
    "/too-long": too_long,
    "/more-than-enough": more_than_enough,
    "/out-of-order": out_of_order,
    "/bad-head": bad_head,
    "/bad-status": bad_status,
    "/text": text,
    "/no-content": no_content,
    "/hop-by-hop": hop_by_hop,
    "/silent": silent,
    "/silent-behind-the-head": silent_behind_the_head,
    "/listens": listens,
    "/floods": floods,
    "/never-satisfied": never_satisfied,
    "/wrong-close": wrong_close,
    "/accept-twice": accept_twice,
    "/send-first": send_first,
    "/mute": mute,
    "/closes-and-waits": closes_and_waits,
}
