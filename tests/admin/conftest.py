"""A supervisor's facts for the admin address: real shared memory, real settings."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import ClientSession, web

from gateway.admin.app import build_app
from gateway.admin.state import Reloaded, Reloads, TargetFacts
from gateway.config.settings import AdminSettings, GatewaySettings
from gateway.core.address import Address
from gateway.decide.route.settings import MatchSettings
from gateway.observe.memory import SharedMemory, Slot, WorkerState
from gateway.observe.registry import Registry
from gateway.pipeline.settings import ForwardSettings, RedirectSettings, RespondSettings, RouteSettings
from gateway.transport.settings import ListenSettings
from gateway.upstreams.settings import TargetSettings, UpstreamSettings

SETTINGS = GatewaySettings(
    listen=(ListenSettings(Address("127.0.0.1", 8080)),),
    routes=(
        RouteSettings("orders", MatchSettings(("/orders/*",), methods=("GET", "POST")), ForwardSettings((("o", 1),))),
        RouteSettings("split", MatchSettings(("/s",), hosts=("a.example",)), ForwardSettings((("o", 9), ("p", 1)))),
        RouteSettings("ping", MatchSettings(("/ping",), headers=(("x-a", "1"),)), RespondSettings(body=b"pong")),
        RouteSettings("old", MatchSettings(("/old/*",)), RedirectSettings("https://example.com/")),
    ),
    upstreams=(
        UpstreamSettings("o", (TargetSettings("10.0.0.1", 80, weight=2), TargetSettings("10.0.0.2", 80))),
        UpstreamSettings("p", (TargetSettings("p.internal", 80, dns=True),)),
    ),
    hash="abc123",
    path="gateway.yaml",
    redacted={"admin": {"token": "***"}},
)


@dataclass
class Facts:
    """What the supervisor would say."""

    slots: list[Slot]
    settings: GatewaySettings = SETTINGS
    loaded_at: float = 1_795_398_929.0
    started_at: float = field(default_factory=time.time)
    restarts: dict[str, int] = field(default_factory=dict)
    draining: bool = False
    target_facts: dict[tuple[str, str], TargetFacts] = field(default_factory=dict)
    check_counts: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def drain_target(self, upstream: str, target: str, drained: bool) -> Future[None]:
        self.target_facts[upstream, target] = TargetFacts(drained=drained)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    reloads: Reloads = Reloads({"success": 2, "failure": 1}, False, 1_795_398_929.0)
    reloaded: Reloaded = Reloaded()

    def reload(self) -> Future[Reloaded]:
        done: Future[Reloaded] = Future()
        done.set_result(self.reloaded)
        return done

    def drain(self) -> None:
        self.draining = True


@pytest.fixture
def facts() -> Facts:
    return Facts(SharedMemory.attach(SharedMemory.create(2)).slots)


@pytest.fixture
def workers(facts: Facts) -> list[Registry]:
    """Two workers that serve."""
    registries = [Registry(slot) for slot in facts.slots]
    for slot, registry in zip(facts.slots, registries, strict=True):
        slot.state = WorkerState.SERVING
        registry.flush(time.monotonic())
    return registries


Connect = Callable[..., Awaitable[ClientSession]]


@pytest.fixture
async def connect(facts: Facts) -> AsyncIterator[Connect]:
    """Serve the app and give a client of it; the arguments are those of AdminSettings."""
    runners: list[web.AppRunner] = []
    clients: list[ClientSession] = []

    async def start(**options: object) -> ClientSession:
        admin = replace(AdminSettings(), **options)  # type: ignore[arg-type]
        facts.settings = replace(facts.settings, admin=admin)
        runner = web.AppRunner(build_app(facts), access_log=None)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        clients.append(ClientSession(f"http://{host}:{port}"))
        return clients[-1]

    yield start
    for client in clients:
        await client.close()
    for runner in runners:
        await runner.cleanup()
