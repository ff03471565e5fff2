"""What a reload leaves behind goes by counts of references alone: the collector never looks at what was frozen."""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.settings import GatewaySettings
from gateway.observe.registry import Registry
from gateway.runtime.assemble import assemble
from gateway.runtime.release import free, release

ROUTES = 30
CONFIG = """
upstreams:
  plain: {{targets: ["http://127.0.0.1:1", "http://127.0.0.1:2"], timeout: {number}s}}
  hashed: {{targets: ["http://127.0.0.1:1"], balance: {{consistent_hash: header:x-user}}, timeout: {number}s}}
  guarded:
    targets: ["http://127.0.0.1:1"]
    timeout: {number}s
    balance: peak_ewma
    outlier: {{errors: 5}}
    breaker: {{errors: 50%}}
    concurrency: adaptive
  limited: {{targets: ["http://127.0.0.1:1"], concurrency: 4, retry: {{when: [reset]}}, timeout: {number}s}}
routes:
  - {{match: "/split/*", to: {{plain: 50%, limited: 50%}}}}
  - {{match: "/hashed/{{id}}", to: hashed, rewrite: "/v2/{{id}}", headers: {{response: {{set: {{x-a: b}}}}}}}}
  - {{match: "*.example.com/guarded/{{id}}/*", to: guarded, strip: /guarded}}
  - {{match: /respond, respond: {{status: 200, body: "{number}"}}}}
  - {{match: "/away/*", redirect: https://example.com/}}
  - match: "/all/{{id}}"
    aggregate: {{sources: {{a: {{to: plain, path: "/{{id}}"}}, b: {{to: guarded, path: "/{{a.id}}"}}}}}}
"""


@pytest.fixture
def no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    gc.freeze()  # what was there before is not looked at
    yield
    gc.unfreeze()
    gc.enable()


def settings(directory: Path, number: int) -> GatewaySettings:
    file = directory / "gateway.yaml"
    many = "".join(f'  - {{match: "/r/{each}/{{id}}", to: plain}}\n' for each in range(ROUTES))
    file.write_text(CONFIG.format(number=number + 1) + many)
    return load(file, import_s=None).settings


def ours() -> Counter[str]:
    """Objects of the classes that a worker has of its own, by class."""
    names = (f"{type(each).__module__}.{type(each).__name__}" for each in gc.get_objects())
    return Counter(name for name in names if name.startswith("gateway.") and not name.startswith("gateway.config."))


async def test_nothing_of_an_old_config_is_left(tmp_path: Path, no_collections: None) -> None:
    registry, loop = Registry(), asyncio.get_running_loop()
    gateway = assemble(settings(tmp_path, 0), registry, loop)
    found = []
    for number in range(1, 6):
        generation = gateway.next()
        generation.build(settings(tmp_path, number))
        await generation.start()
        release(gateway.use(generation))
        del generation
        registry.flush(1.0)
        gateway.tick(float(number))
        if number > 1:
            found.append(ours())
    gateway.close()
    assert found[0]["gateway.pipeline.route.Route"] == 6 + ROUTES
    assert found[0] == found[-1]


def test_a_table_is_freed_a_piece_at_a_time(tmp_path: Path, no_collections: None) -> None:
    loop = asyncio.new_event_loop()
    gateway = assemble(settings(tmp_path, 0), Registry(), loop)
    generation = gateway.next()
    generation.build(settings(tmp_path, 1))
    (before,) = gateway.use(generation)
    for each in range(ROUTES):
        before.table.find("GET", "a", f"/r/{each}/x")
    pieces = before.table.pieces()
    del before
    most = 0
    while pieces:
        count = ours().total()
        free([pieces.pop(0)])
        most = max(most, count - ours().total())
    loop.close()
    assert most < 20, "no piece takes many others with it"
