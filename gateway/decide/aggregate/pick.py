"""What of a source's answer counts: `pick` (JMESPath) and then `rename`. The one door to jmespath."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jmespath import compile as compile_expression
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult


class PickError(Exception):
    """The expression fails on this answer (a function that wants another type, for one)."""


@dataclass(frozen=True, slots=True)
class Transform:
    """From an answer to the source's value; settings only, so that it can go to another process."""

    pick: str = ""
    rename: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pick or self.rename)

    def __call__(self, value: Any) -> Any:
        """Raises PickError. What the expression does not find is null, as JMESPath says."""
        if self.pick:
            try:
                value = _compiled(self.pick).search(value)
            except (JMESPathError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
                raise PickError(str(error)) from None
        return self._renamed(value) if self.rename else value

    def _renamed(self, value: Any) -> Any:
        """The members of an object, or of each object in a list, by their new names, in their order."""
        if isinstance(value, dict):
            names = dict(self.rename)
            return {names.get(name, name): inner for name, inner in value.items()}
        if isinstance(value, list):
            return [self._renamed(each) if isinstance(each, dict) else each for each in value]
        return value


def pick_problem(expression: str) -> str:
    """Why `expression` is no JMESPath; empty where it is."""
    try:
        parsed = _compiled(expression)
    except JMESPathError as error:
        return f"not a JMESPath expression: {' '.join(str(error).split())}"
    except RecursionError:
        return "this JMESPath expression is nested too deep"
    unknown = sorted(_functions(parsed.parsed) - set(Functions.FUNCTION_TABLE))
    return f"JMESPath has no function {unknown[0]}()" if unknown else ""


def _functions(node: Any) -> set[str]:
    named = {str(node["value"])} if node["type"] == "function_expression" else set()
    return named.union(*[_functions(child) for child in node["children"] if isinstance(child, dict)])


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> ParsedResult:
    return compile_expression(expression)
