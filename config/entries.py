"""Parts that entries of a route file are made of: their base model, names, and lists that may be one value."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from config.fields import shaped


class Entry(BaseModel):
    """A part of a route file.

    Law: a key without a value is refused. It is not the same as no key: ``require:`` whose lines were taken out would
    ask for no permission.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _has_a_value(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("has no value; write one, or leave the key out")
        return value


def one_or_many(value: Any) -> Any:
    """Return a list of a text that stands alone; leave any other value for its type to check."""
    return [value] if isinstance(value, str) else value


Name = Annotated[
    str,
    *shaped(
        r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
        "should be a name of letters, digits, _, . and -, at most 63, that begins with a letter or digit",
    ),
]
Item = TypeVar("Item")
Some = Annotated[list[Item], Field(min_length=1)]
