"""One config after the other on one loop: nothing is left of those that are over, without the garbage collector."""

import asyncio
import gc
from collections import Counter
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.settings import GatewaySettings
from gateway.observe.registry import Registry
from gateway.pipeline.python import look_in
from gateway.runtime.assemble import Gateway, assemble
from gateway.runtime.release import release

CODE = """
def handle(request): return {}

async def app(scope, receive, send):
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind.endswith("shutdown"): return
other = app
"""
ROUTES = "routes:\n  - {name: r, match: /r, to: u}\n"
TURNS = {
    "upstream": ("upstreams: {u: {targets: ['http://127.0.0.1:9'], concurrency: %d, breaker: {}, outlier: {}}}\n", ""),
    "name": ("upstreams: {u: {targets: ['dns://localhost:9'], timeout: {head: %ds}}}\n", ""),
    "executor": (
        "upstreams: {u: http://127.0.0.1:9}\nexecutors: {e: {threads: %d}}\n",
        "  - {name: h, match: /h, handler: {run: code.py:handle, executor: e}}\n",
    ),
    "application": ("upstreams: {u: http://127.0.0.1:9}\n", "  - {name: a%d, match: /a, app: {asgi: 'code.py:%s'}}\n"),
    "aggregate": (
        "upstreams: {u: http://127.0.0.1:9}\n",
        "  - {name: g%d, match: /g, aggregate: {sources: {s: {to: u, path: /s}}}}\n",
    ),
    "listener": ("limits: {line: %dKiB}\nupstreams: {u: http://127.0.0.1:9}\n", ""),
}


def config(kind: str, turn: int) -> str:
    values = (turn, ("app", "other")[turn % 2])
    return "".join(text % values[: text.count("%")] for text in (TURNS[kind][0], ROUTES, TURNS[kind][1]))


def loaded(path: Path, text: str) -> GatewaySettings:
    path.write_text(text)
    return load(str(path)).settings


async def reload(gateway: Gateway, settings: GatewaySettings) -> None:
    loop = asyncio.get_running_loop()
    generation = gateway.next()
    await loop.run_in_executor(None, generation.build, settings)
    await generation.start()
    await loop.run_in_executor(None, release, gateway.use(generation))


def ours() -> Counter[str]:
    """All objects of our own classes that the collector knows, those that it could free included."""
    kinds = Counter(map(type, gc.get_objects()))
    return Counter({str(kind): count for kind, count in kinds.items() if str(kind.__module__).startswith("gateway.")})


@pytest.mark.parametrize("kind", TURNS)
async def test_nothing_is_left_of_a_config_that_is_over(kind: str, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE)
    look_in(str(tmp_path))
    first, second = (loaded(tmp_path / "g.yaml", config(kind, turn)) for turn in (4, 5))
    registry = Registry()
    gateway = assemble(first, registry, asyncio.get_running_loop())
    await gateway.start()

    async def turns(times: int) -> None:
        for _ in range(times):
            await reload(gateway, second)
            await reload(gateway, first)

    await turns(2)
    gc.collect()
    gc.disable()
    try:
        registry.flush(0.0)
        before = ours()
        await turns(3)
        async with asyncio.timeout(10):
            while sum((ours() - before).values()) >= 3:  # less than one a turn
                registry.flush(0.0)  # on which a retired upstream ends
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
    await gateway.stop()
    gateway.close()
