"""What all models share: closed keys, and short forms."""

from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ModelWrapValidatorHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from gateway.config.types import wrong_kind

UNSET: Final = -1
"""The default of keys whose absence means something that nobody can write."""


class Model(BaseModel):
    """A mapping of the config with a closed set of keys."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    wanted: ClassVar[str] = "a mapping"
    """What to write, for the error about a value of another kind."""
    short_schema: ClassVar[dict[str, Any] | None] = None
    """JSON Schema of the short form."""

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """The mapping (or the whole model) that a short form stands for; anything else is given back as it is."""
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _expand(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(value, dict):
            value = cls.from_short(value)
            if isinstance(value, cls):
                return value
            if not isinstance(value, dict):
                raise wrong_kind(value, cls.wanted)
        return validate(value)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself: defaults are shared, since only what the file says is ever changed (see `below`)."""
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        long = handler.resolve_ref_schema(handler(schema))
        if cls.short_schema is None or "anyOf" in long:
            return long
        return {"anyOf": [dict(cls.short_schema), dict(long)]}


def below(defaults: Model, model: Model) -> None:
    """Give `model` the values of `defaults` for what it does not say itself; mappings are merged key by key.

    `model_fields_set` stays what the model says itself.
    """
    for name in defaults.model_fields_set:
        value = getattr(defaults, name)
        if name not in model.model_fields_set:
            model.__dict__[name] = value
            continue
        own = getattr(model, name)
        if isinstance(own, Model) and isinstance(value, Model):
            below(value, own)
        elif isinstance(own, dict) and isinstance(value, dict):
            model.__dict__[name] = value | own
