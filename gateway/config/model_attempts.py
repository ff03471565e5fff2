"""Keys of an upstream that say when another target is asked: after the first failed, or beside it."""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from gateway.config.model_base import Model
from gateway.config.types import OneOrMany, Rule, Share, Wait, fault, one_of
from gateway.config.units import UnitError, format_duration, parse_duration
from gateway.decide.resilience.hedge import HedgeSettings
from gateway.decide.resilience.retry import CONDITIONS, RetrySettings

_RETRY = RetrySettings()


def _condition(value: Any, directory: Path) -> str:
    is_status = isinstance(value, int) and not isinstance(value, bool)
    return str(_ONE_CONDITION(str(value) if is_status else value, directory))


_ONE_CONDITION = one_of(*CONDITIONS).check
_WORDS = [int(each) if each.isdecimal() else each for each in CONDITIONS]
Condition = Annotated[str, Rule(_condition, {"enum": _WORDS}, lambda word: int(word) if word.isdecimal() else word)]


class Retry(Model):
    """When a request goes to another target."""

    wanted: ClassVar[str] = "a number of attempts, or a mapping with attempts, when, budget and backoff"
    short_schema: ClassVar[dict[str, Any] | None] = {"type": "integer", "minimum": 1, "maximum": 10}

    attempts: Annotated[int, Field(ge=1, le=10)] = Field(
        default=_RETRY.attempts, description="Tries in all, each at another target; 1: no retries"
    )
    when: Annotated[list[Condition], OneOrMany()] = Field(
        default=sorted(_RETRY.when),
        description=f"After which failures: {', '.join(CONDITIONS)}; what was sent goes again only if it is idempotent",
    )
    budget: Share = Field(
        default=_RETRY.budget,
        description="Of the requests of the last 10 s, and at least 10; connect failures do not count",
    )
    backoff: Wait = Field(
        default=_RETRY.backoff_s, description="Longest wait before the first retry, doubled with each; none for connect"
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"attempts": value} if isinstance(value, int) and not isinstance(value, bool) else value


_PERCENTILE = re.compile(r"p([0-9]{2}(?:\.[0-9]{1,2})?)").fullmatch


def _after(value: Any, _: object) -> HedgeSettings:
    found = _PERCENTILE(value) if isinstance(value, str) else None
    if found and float(found[1]) >= 50:
        return HedgeSettings(percentile=round(float(found[1]) / 100, 4))
    if isinstance(value, str) and (value[:1] in ("p", "P") or value[-1:] == "%"):
        raise fault(f"{value[:20]!r} is no percentile from p50 to p99.99", fix="p95")
    try:
        after_s = parse_duration(value)
    except UnitError as error:
        raise fault(error.message, fix=error.fix) from None
    if not after_s:
        raise fault("must be more than zero", hint="p95, or a time that few answers take, such as 50ms")
    return HedgeSettings(after_s=after_s)


def show_after(after: HedgeSettings) -> str:
    """As the config has it."""
    return format_duration(after.after_s) if after.after_s else f"p{after.percentile * 100:.6g}"


_AFTER_SCHEMA = {"type": "string", "pattern": r"^(p[0-9.]+|[0-9.]+(ms|s|m|h|d))$", "examples": ["p95", "50ms"]}


class Hedge(Model):
    """When a second target is asked, because the first is slow."""

    wanted: ClassVar[str] = "p95, a duration such as 50ms, or a mapping with after"
    short_schema: ClassVar[dict[str, Any] | None] = {"type": "string", "examples": ["p95", "50ms"]}

    after: Annotated[HedgeSettings, Rule(_after, _AFTER_SCHEMA, show_after)] = Field(
        description="A time, or a percentile of the last times until the head, from p50 to p99.99", examples=["p95"]
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"after": value} if isinstance(value, (str, int, float)) and not isinstance(value, bool) else value
