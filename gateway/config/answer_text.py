"""What a route answers with, in a few words."""

from gateway.pipeline.settings import (
    AppSettings,
    ForwardSettings,
    HandlerSettings,
    RedirectSettings,
    RespondSettings,
    RouteSettings,
    short_name,
)


def answer_text(route: RouteSettings) -> str:
    """`orders`, `orders 90%, orders-next 10%`, `redirect 308 https://...`, `respond 200`, `handler price.py:quote`."""
    answer = route.answer
    if isinstance(answer, RedirectSettings):
        return f"redirect {answer.status} {answer.location}"
    if isinstance(answer, RespondSettings):
        return f"respond {answer.status}"
    if isinstance(answer, HandlerSettings):
        return f"handler {short_name(answer.call.run)}"
    if isinstance(answer, AppSettings):
        return f"{answer.kind} {short_name(answer.app)}"
    if not isinstance(answer, ForwardSettings):
        return "aggregate " + ", ".join(dict.fromkeys(source.to for source in answer.sources))
    total = sum(share for _, share in answer.to)
    if len(answer.to) == 1:
        return answer.to[0][0]
    return ", ".join(f"{name} {percent(share / total)}" for name, share in answer.to)


def percent(share: float) -> str:
    """0.125 as `12.5%`."""
    return f"{share * 100:.4g}%"
