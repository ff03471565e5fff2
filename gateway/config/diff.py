"""What a reload would change: two GatewaySettings, compared by what they do.

Only names of keys are told, never values, since those may be secrets.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from gateway.config.settings import GatewaySettings
from gateway.decide.aggregate.settings import AggregateSettings
from gateway.pipeline.settings import (
    AppSettings,
    ForwardSettings,
    HandlerSettings,
    RedirectSettings,
    RespondSettings,
)
from gateway.transport.settings import CertificateSettings, Pem
from gateway.upstreams.settings import UpstreamSettings

_KEYS = {
    "balance.kind": "balance",
    "balance.hash_on": "balance",
    "body": "body_limit",
    "request_headers": "headers.request",
    "response_headers": "headers.response",
    "match.paths": "match.path",
    "limits.head": "limits",
    "answer.call": "handler",
    "class_weight": "queues.weight",
    "redirect_https": "redirect",
    "hedge.percentile": "hedge.after",
    "tls.certificates": "tls.cert",
}
"""Places that the config spells in another way, beyond the unit at their end."""
_ANSWERS = {
    ForwardSettings: "to",
    RespondSettings: "respond",
    RedirectSettings: "redirect",
    HandlerSettings: "handler",
    AppSettings: "app",
    AggregateSettings: "aggregate",
}
_UNSEEN = ("source",)
"""Where something stands in a file changes nothing that it does."""
_REFUSED = {
    "workers": "the number of processes is fixed at start; restart the gateway",
    "admin": "the admin address is opened once at start; restart the gateway",
}
"""What cannot be changed live, and why. The one place that says so, for `plan` and for a reload."""
_NAMED = {"listeners": "listen", "routes": "routes", "upstreams": "upstreams", "executors": "executors"}
"""Kinds of what is told by name, with the fields where they stand."""
_OTHERS = {
    "workers": "workers",
    "admin": "admin",
    "watch": "watch",
    "trusted_proxies": "trusted_proxies",
    "log": "log",
    "access_log": "access_log",
    "client": "limits",
    "limits": "limits",
    "overload": "overload",
    "shutdown": "shutdown",
    "loop_guard_s": "loop_guard",
}
"""Fields that stand for themselves, with their key."""


@dataclass(frozen=True, slots=True)
class Changes:
    """One text a change, by kind: `+` is added, `-` is removed, `~` is changed, with the keys that did."""

    refused: tuple[str, ...] = ()
    """What cannot be changed live, with the reason: none of the others is done while there is one."""
    listeners: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()
    executors: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(self.document().values())

    def document(self) -> dict[str, list[str]]:
        """All of it as plain values, by kind."""
        return {each.name: list(getattr(self, each.name)) for each in fields(self)}


def changes(old: GatewaySettings, new: GatewaySettings) -> Changes:
    """What changes from `old` to `new`, in the order of `old`, then what is new."""
    found: dict[str, dict[str, None]] = {}
    refused: dict[str, list[str]] = {}
    for kind, row, text in _all(old, new):
        if row in _REFUSED:
            refused.setdefault(_REFUSED[row], []).append(text.removeprefix("~ "))
        else:
            found.setdefault(kind, {})[text] = None
    return Changes(
        refused=tuple(f"{', '.join(dict.fromkeys(texts))}: {why}" for why, texts in refused.items()),
        **{kind: tuple(texts) for kind, texts in found.items()},
    )


def _all(old: GatewaySettings, new: GatewaySettings) -> Iterator[tuple[str, str, str]]:
    """Each change: its kind, its row where it is refused, its text."""
    for kind, name in _NAMED.items():
        for text in _named(kind.removesuffix("s"), getattr(old, name), getattr(new, name)):
            yield kind, kind, text
    for key, text in _others(old, new):
        yield "others", key, text


def _others(old: GatewaySettings, new: GatewaySettings) -> Iterator[tuple[str, str]]:
    """Key and text."""
    for name, key in _OTHERS.items():
        for changed in _keys(getattr(old, name), getattr(new, name), key):
            yield key, f"~ {changed}"


def _named(kind: str, old: Iterable[Any], new: Iterable[Any]) -> Iterator[str]:
    before, after = {each.name: each for each in old}, {each.name: each for each in new}
    for name, was in before.items():
        if name not in after:
            yield f"- {kind} {name}"
        else:
            keys = list(dict.fromkeys(_keys(was, after[name])))
            if keys:
                yield f"~ {kind} {name}: {', '.join(keys)}"
    for name in after:
        if name not in before:
            yield f"+ {kind} {name}"


def _keys(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The keys under which two values differ."""
    if old == new:
        return
    if _names(old) == _names(new):
        yield f"{path} (what the file holds)"
        return
    if not is_dataclass(old) or isinstance(old, Pem) or type(old) is not type(new):
        yield f"{_ANSWERS[type(old)]} becomes {_ANSWERS[type(new)]}" if type(old) in _ANSWERS else path
        return
    for each in fields(old):
        if each.name in _UNSEEN:
            continue
        was, now = getattr(old, each.name), getattr(new, each.name)
        if each.name == "targets" and isinstance(old, UpstreamSettings):
            yield from _targets(was, now)
        else:
            yield from _keys(was, now, _key(path, each.name))


def _names(value: Any) -> Any:
    """Of PEM files, the paths alone."""
    if isinstance(value, Pem):
        return value.path
    if isinstance(value, CertificateSettings):
        return value.cert.path, value.key.path
    return [_names(each) for each in value] if isinstance(value, tuple) else value


def _key(path: str, name: str) -> str:
    key = name.removesuffix("_s").removesuffix("_bytes").removesuffix("_")
    whole = f"{path}.{key}" if path else key
    return _KEYS.get(whole) or whole.removeprefix("answer.")


def _targets(old: Iterable[Any], new: Iterable[Any]) -> Iterator[str]:
    before, after = {each.label: each for each in old}, {each.label: each for each in new}
    signs = [f"-{label}" for label in before if label not in after]
    signs += [f"~{label}" for label, was in before.items() if label in after and after[label] != was]
    signs += [f"+{label}" for label in after if label not in before]
    if signs:
        yield f"targets ({' '.join(signs)})"
