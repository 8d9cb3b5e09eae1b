"""Listing of the current settings in an operator's notation, with secrets hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from config.layers import FIELDS, PREFIX
from config.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings


def listing(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield every setting's name and value, each on one line; for a secret, only whether it is set."""
    for name in FIELDS:
        value = value_of(settings, name)
        if isinstance(value, tuple) and any(isinstance(one, SecretStr) for one in value):
            yield name, f"({len(value)} hidden)"
        elif isinstance(value, SecretStr):
            yield name, "(hidden)" if value.get_secret_value() else ""
        elif value is None:
            yield name, ""
        elif isinstance(value, tuple):
            yield name, printable(",".join(map(str, value)))
        elif isinstance(value, bool):
            yield name, str(value).lower()
        else:
            yield name, f"{value:.15g}" if isinstance(value, float) else printable(str(value))


def value_of(settings: Settings, name: str) -> Any:
    """Return the value of the setting `name`."""
    path = name.removeprefix(PREFIX).lower()
    if path in type(settings).model_fields:
        return getattr(settings, path)
    group, _, field = path.partition("_")
    return getattr(getattr(settings, group), field)
