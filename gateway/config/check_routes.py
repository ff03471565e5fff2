"""Checks of routes: each has one answer that can be given, and each can be told from the others."""

from collections import Counter
from dataclasses import dataclass
from itertools import islice

from gateway.config.check import Checked
from gateway.config.lines import KeyPath
from gateway.config.model_route import Route
from gateway.decide.route.conflicts import ties, unreachable
from gateway.decide.route.form import Form
from gateway.decide.route.match import Pattern, parse_pattern
from gateway.decide.route.rewrite import rewrite_problems
from gateway.decide.route.settings import MatchSettings

ANSWERS = ("to", "handler", "app", "aggregate", "respond", "redirect")
MAX_TIES = 20_000
"""Pairs looked at. Routes on one path that each ask for a header of their own tie in pairs, which are many."""
ONLY_WITH = {"rewrite": ("to",), "strip": ("to", "app"), "host": ("to",)}
"""Keys that some answers alone know."""

_FRAMING = frozenset(("connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"))
_NEVER_SEEN = frozenset(("x-request-timeout-ms",))


@dataclass(frozen=True, slots=True)
class _Entry:
    path: KeyPath
    route: Route


def check_routes(checked: Checked) -> None:
    """All of this file."""
    entries = [
        _Entry(("routes", index), route)
        for index, route in zip(checked.route_indices, checked.config.routes, strict=True)
    ]
    _name(checked, entries)
    matches: list[tuple[MatchSettings, _Entry]] = []
    names = set(checked.names)
    for entry in entries:
        _check_answer(checked, entry, names)
        _check_headers(checked, entry)
        try:
            match = entry.route.match.settings()
        except ValueError as error:
            checked.fault((*entry.path, "match"), str(error))
            continue
        _check_paths(checked, entry, match)
        _check_headers_seen(checked, entry, match)
        matches.append((match, entry))
    _check_ties(checked, matches)
    for entry, why in unreachable(matches):
        checked.fault((*entry.path, "match"), f"no request can reach this route: {why}")


def _name(checked: Checked, entries: list[_Entry]) -> None:
    """Names differ; a route without one is called what it matches."""
    first: dict[str, _Entry] = {}
    for entry in entries:
        name = entry.route.name
        if name and name in first:
            place = checked.place((*first[name].path, "name"))
            checked.fault((*entry.path, "name"), f"the route {name!r} is already defined at {place}")
        elif name:
            first[name] = entry
    counts = Counter(first)
    for entry in entries:
        if not entry.route.name:
            base = default_name(entry.route)
            counts[base] += 1
            entry.route.name = base if counts[base] == 1 else f"{base} #{counts[base]}"


def default_name(route: Route) -> str:
    """`POST shop.example.com/orders`, as in the short form of `match`."""
    match = route.match
    words = [",".join(match.methods)] if match.methods else []
    name = " ".join([*words, f"{match.hosts[0] if match.hosts else ''}{match.path[0]}"])
    return name.encode("ascii", "replace").decode()[:180]


def _check_answer(checked: Checked, entry: _Entry, names: set[str]) -> None:
    route, path = entry.route, entry.path
    answers = [key for key in ANSWERS if key in route.model_fields_set]
    if not answers:
        checked.fault(path, "a route needs an answer", "one of to, handler, app, aggregate, respond or redirect")
    for key in answers[1:]:
        checked.fault((*path, key), f"a route has one answer; this one has `{answers[0]}` already", at_key=True)
    for key in answers:
        if getattr(route, key) is None:
            checked.fault((*path, key), "has no value", "give it one, or remove the key", at_key=True)
    for key, with_ in ONLY_WITH.items():
        if key in route.model_fields_set and answers and not set(with_) & set(answers):
            checked.fault((*path, key), f"`{key}` is for routes with `{'` or `'.join(with_)}`", at_key=True)
    for name in route.to:
        if name not in names:
            found = checked.guess(name, checked.names) or ("" if names else "define it under `upstreams:`")
            checked.fault((*path, "to", name), f"there is no upstream {name!r}", found, at_key=len(route.to) > 1)
    _check_shares(checked, entry)
    respond = route.respond
    if respond is not None and respond.body and respond.status in (204, 205, 304):
        checked.fault((*path, "respond", "body"), f"an answer with status {respond.status} has no body")


def _check_shares(checked: Checked, entry: _Entry) -> None:
    to = entry.route.to
    total = sum(to.values()) * 100
    if "to" in entry.route.model_fields_set and not to:
        checked.fault((*entry.path, "to"), "names no upstream")
    elif to and not total:
        checked.fault((*entry.path, "to"), "all shares are 0%, so no request has a place to go")
    elif to and total != 100:
        checked.warn((*entry.path, "to"), f"the shares add up to {float(total):g}% and are taken in proportion")


def _check_paths(checked: Checked, entry: _Entry, match: MatchSettings) -> None:
    """`rewrite` and `strip` fit the path of the match."""
    route, path = entry.route, entry.path
    problems = rewrite_problems(route, match)
    for problem in problems:
        key = "strip" if "strip" in problem else "rewrite"
        checked.fault((*path, key), problem.removeprefix(f"{key}: "))
    if problems or not route.strip:
        return
    strip = parse_pattern(route.strip.removesuffix("*").rstrip("/") or "/*")
    for pattern in map(parse_pattern, match.paths):
        if not _begins_with(pattern, strip):
            fault = f"{pattern.text} does not begin with {route.strip}, so there is nothing to strip"
            checked.fault((*path, "strip"), fault)


def _begins_with(pattern: Pattern, strip: Pattern) -> bool:
    enough = pattern.rest or len(pattern.segments) >= len(strip.segments)
    pairs = zip(pattern.segments, strip.segments, strict=False)
    return enough and all(None in pair or pair[0] == pair[1] for pair in pairs)


def _check_headers(checked: Checked, entry: _Entry) -> None:
    """Framing is the gateway's; who else sets it splits messages."""
    headers = entry.route.headers
    for side, edits in (("request", headers.request), ("response", headers.response)):
        path: KeyPath = (*entry.path, "headers", side)
        for name in edits.set:
            if name.lower() in _FRAMING:
                checked.fault((*path, "set", name), f"{name} is set by the gateway alone", at_key=True)
            elif side == "request" and name.lower() == "host":
                checked.fault((*path, "set", name), "the Host is not set here", "use the route's `host:`", at_key=True)
        for index, name in enumerate(edits.remove):
            if name.lower() in _FRAMING | {"host"}:
                checked.fault((*path, "remove", index), f"{name} cannot be removed: it is the gateway's")
    for name in entry.route.respond.headers if entry.route.respond else ():
        if name.lower() in _FRAMING:
            checked.fault((*entry.path, "respond", "headers", name), f"{name} is set by the gateway alone", at_key=True)


def _check_headers_seen(checked: Checked, entry: _Entry, match: MatchSettings) -> None:
    """A required header that never comes makes a route unreachable."""
    path: KeyPath = (*entry.path, "match")
    for name, _ in match.headers:
        if "_" in name and checked.config.limits.underscores == "drop":
            hint = "write it with `-`, or set `limits: {underscores: allow}`"
            fault = f"no request can reach this route: {name} has a `_`, and such headers are dropped"
            checked.fault((*path, "headers", _written(entry, name)), fault, hint, at_key=True)
        elif name.startswith("x-gateway-") or name in _NEVER_SEEN | _FRAMING:
            fault = f"no request can reach this route: {name} from a client is removed before routes are looked up"
            checked.fault((*path, "headers", _written(entry, name)), fault, at_key=True)


def _written(entry: _Entry, name: str) -> str:
    """The header's name as the file spells it."""
    return next((key for key in entry.route.match.headers if key.lower() == name), name)


def _check_ties(checked: Checked, matches: list[tuple[MatchSettings, _Entry]]) -> None:
    """No two routes may have an equal claim to one request; each is told of the first that it ties with."""
    reported: set[KeyPath] = set()
    for first, second in islice(ties(matches), MAX_TIES):
        if second.value.path not in reported:
            reported.add(second.value.path)
            _report_tie(checked, first, second)


def _report_tie(checked: Checked, first: Form[_Entry], second: Form[_Entry]) -> None:
    methods = sorted(set(first.methods) & set(second.methods)) or first.methods or second.methods
    request = " ".join([*methods[:1], f"{second.host}{second.pattern.text}"])
    other = first.value
    fault = f"ties with the route {other.route.name!r} at {checked.place(other.path)}: both take {request}"
    hint = "give one of them another path or one condition more"
    checked.fault((*second.value.path, "match"), fault, hint)
