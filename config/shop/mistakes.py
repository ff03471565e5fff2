"""What one should not do, and what it costs: the request that does it, and nobody else's."""

import time

from gateway import Request, Response


def hangs(request: Request) -> Response:
    """A call that waits for somebody who does not answer.

    Its time is limited by its executor: the client gets 504, the thread is counted as abandoned and another one takes
    its place until it comes back after all.
    """
    time.sleep(3)
    return Response("too late for anybody\n")


async def blocks(request: Request) -> Response:
    """A call that blocks, in an `async def`: the event loop stands still, and the gateway's log says who did it."""
    time.sleep(0.2)  # noqa: ASYNC251 - the mistake itself
    return Response("the log names the line that held everybody up\n")
