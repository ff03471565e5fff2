"""Start and end of ASGI applications, good and bad ones."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.pipeline.apps.lifespan import AppError, Lifespan, Receive, Send

App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]
COMPLETE = ("lifespan.startup.complete", "lifespan.shutdown.complete")


def living(*answers: str, notes: list[str], message: str = "") -> App:
    """An application that gives these answers to what it is told, in turn."""

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan"
        scope["state"]["notes"] = notes
        for answer in answers:
            notes.append((await receive())["type"])
            await send({"type": answer, "message": message})

    return app


async def test_it_starts_and_ends() -> None:
    notes: list[str] = []
    lifespan = Lifespan(living(*COMPLETE, notes=notes), "api:app")
    await lifespan.start()
    assert notes == ["lifespan.startup"]
    assert lifespan.state == {"notes": notes}
    await lifespan.stop()
    assert notes == ["lifespan.startup", "lifespan.shutdown"]
    await lifespan.stop()


async def test_a_failed_start_up_says_why(caplog: pytest.LogCaptureFixture) -> None:
    failure = "Traceback (most recent call last):\n  ...\nOSError: no database\n"
    lifespan = Lifespan(living("lifespan.startup.failed", notes=[], message=failure), "api:app")
    with pytest.raises(AppError, match=r"^api:app: its start-up failed: OSError: no database$"):
        await lifespan.start()
    assert failure.strip() in caplog.text
    await lifespan.stop()


async def test_a_failed_start_up_without_a_message() -> None:
    with pytest.raises(AppError, match="it does not say why"):
        await Lifespan(living("lifespan.startup.failed", notes=[]), "api:app").start()


async def test_an_exception_before_an_answer_means_that_there_is_no_lifespan() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"

    lifespan = Lifespan(app, "api:app")
    await lifespan.start()
    await lifespan.stop()


async def test_who_returns_without_an_answer_takes_no_part() -> None:
    lifespan = Lifespan(living(notes=[]), "api:app")
    await lifespan.start()
    await lifespan.stop()


async def test_a_start_up_that_hangs() -> None:
    ended = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    lifespan = Lifespan(app, "api:app", startup_s=0.05)
    with pytest.raises(AppError, match=r"took longer than 0.05s"):
        await lifespan.start()
    await asyncio.sleep(0)
    assert ended == [True]


async def test_a_shutdown_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await asyncio.Event().wait()

    lifespan = Lifespan(app, "api:app", shutdown_s=0.05)
    await lifespan.start()
    await lifespan.stop()
    assert "its shutdown (lifespan) took longer than 0.05s" in caplog.text


async def test_a_shutdown_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    answers = ("lifespan.startup.complete", "lifespan.shutdown.failed")
    lifespan = Lifespan(living(*answers, notes=[], message="disk full"), "api:app")
    await lifespan.start()
    await lifespan.stop()
    assert "api:app: its shutdown failed: disk full" in caplog.text


async def test_an_end_ahead_of_time_is_logged_and_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise OSError("lost")

    lifespan = Lifespan(app, "api:app")
    await lifespan.start()
    await lifespan.stop()
    assert "api:app: its lifespan failed" in caplog.text
    assert "OSError: lost" in caplog.text


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any], more: object) -> list[bytes]:
    return []


class Old:
    """An ASGI 2 application is called twice; this one takes what it is given."""

    def __init__(self, *scope: object) -> None:
        pass


@pytest.mark.parametrize("app", [wsgi, Old])
async def test_what_is_no_asgi_3_application(app: Any) -> None:
    with pytest.raises(AppError, match="site:app is no ASGI 3 application"):
        await Lifespan(app, "site:app").start()
