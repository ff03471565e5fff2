"""From what a route's settings say to what answers it."""

import random
from collections.abc import Callable
from math import inf

from gateway.decide.aggregate.settings import AggregateSettings
from gateway.decide.balance.split import Split
from gateway.decide.route.rewrite import Redirect, Rewrite
from gateway.executors.registry import Executors
from gateway.observe.registry import Registry
from gateway.pipeline.edits import editor
from gateway.pipeline.fetcher import Fetcher
from gateway.pipeline.forward import Plan
from gateway.pipeline.handler import Handler
from gateway.pipeline.hash_key import hash_key
from gateway.pipeline.lane import Asker, LaneAnswer, TaskAnswer
from gateway.pipeline.plugin import Plugin
from gateway.pipeline.plugins import Plugins
from gateway.pipeline.python import load_handler, load_plugin
from gateway.pipeline.respond import RedirectAnswer, Respond
from gateway.pipeline.route import Answer
from gateway.pipeline.settings import (
    AppSettings,
    ForwardSettings,
    HandlerSettings,
    PluginSettings,
    RedirectSettings,
    RespondSettings,
    RouteSettings,
)
from gateway.runtime.aggregates import Aggregates
from gateway.runtime.apps import Apps
from gateway.runtime.shares import Share
from gateway.upstreams.upstream import Upstream


class Answers:
    """Makes the answers of one config's routes."""

    def __init__(
        self,
        upstreams: dict[str, Upstream],
        *,
        executors: Executors,
        apps: Apps,
        share: Share,
        aggregates: Aggregates,
        registry: Registry,
        fetcher: Fetcher,
        via: str,
        now: Callable[[], float],
    ) -> None:
        self._upstreams = upstreams
        self._executors = executors
        self._apps = apps
        self._share = share
        self._aggregates = aggregates
        self._registry = registry
        self._fetcher = fetcher
        self._via = via
        self._now = now

    def make(self, route: RouteSettings) -> Answer:
        """What answers this route; in a lane of its own where the users' Python has a part in it. Raises CodeError."""
        answer = self._answer(route)
        asker = self._asker(route)
        if asker is None and not isinstance(answer, TaskAnswer):
            return answer
        return LaneAnswer(
            answer=answer,
            asker=asker,
            buffer=route.buffer,
            timeout_s=inf if route.timeout_s is None else route.timeout_s,
            response_edit=editor(route.response_headers),
            fetcher=self._fetcher,
            queue=route.class_,
            now=self._now,
        )

    def _asker(self, route: RouteSettings) -> Asker | None:
        if not route.plugins:
            return None
        return Plugins([self._plugin(each) for each in route.plugins])

    def _plugin(self, plugin: PluginSettings) -> Plugin:
        executor = self._executors.get(plugin.call.executor)
        return Plugin(plugin, load_plugin(plugin.call.run), executor, self._registry)

    def _answer(self, route: RouteSettings) -> Answer:
        answer = route.answer
        if isinstance(answer, ForwardSettings):
            return self._plan(route, answer)
        if isinstance(answer, RespondSettings):
            return Respond(answer, editor(route.response_headers))
        if isinstance(answer, HandlerSettings):
            executor = self._executors.get(answer.call.executor)
            return Handler(load_handler(answer.call.run), executor, answer.call.timeout_s)
        if isinstance(answer, AppSettings):
            return self._apps.make(route, answer, self._executors, self._share)
        if isinstance(answer, AggregateSettings):
            return self._aggregates.make(route, answer, self._upstreams)
        assert isinstance(answer, RedirectSettings)
        return RedirectAnswer(Redirect(answer), answer.status, editor(route.response_headers))

    def _plan(self, route: RouteSettings, answer: ForwardSettings) -> Plan:
        return Plan(
            choose=self._chooser(answer),
            rewrite=Rewrite(answer),
            host=answer.host,
            timeout_s=route.timeout_s,
            buffer=route.buffer,
            upgrades=frozenset(route.upgrade),
            request_edit=editor(route.request_headers),
            response_edit=editor(route.response_headers),
            hash_key=hash_key([self._upstreams[name].settings.balance.hash_on for name, _ in answer.to]),
            via=self._via,
            now=self._now,
            queue=route.class_,
        )

    def _chooser(self, answer: ForwardSettings) -> Callable[[], Upstream]:
        if len(answer.to) == 1:
            only = self._upstreams[answer.to[0][0]]
            return lambda: only
        split = Split(answer.to)
        rng = random.Random()
        return lambda: self._upstreams[split.pick(rng)]
