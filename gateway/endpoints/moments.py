"""RFC 3339 timestamps in bodies: read strictly, and written as Whatomate writes those of API keys.

Law: a number is no timestamp, nor is one without an offset: what Whatomate refuses is refused here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

WHOLE_MESSAGE: Final = "whole_message"
"""The type of a validation error whose text is the whole message of the refusal."""

_RFC3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})", re.ASCII
)


def _read(value: object) -> datetime | None:
    """Return the moment; none for the empty string, as for Whatomate."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and _RFC3339.fullmatch(value) is not None:
            return datetime.fromisoformat(value)
    except ValueError:  # such as the 30th of February
        pass
    raise PydanticCustomError(WHOLE_MESSAGE, "Invalid expires_at format. Use RFC3339 format")


def _write(moment: datetime) -> str:
    # strftime writes the years before 1000 with fewer than four digits.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


ExpiresAt = Annotated[AwareDatetime | None, BeforeValidator(_read)]
"""``expires_at`` of a body; None where it is absent, null or empty."""

SecondsZ = Annotated[
    datetime,
    PlainSerializer(_write, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment of an answer, in whole seconds of UTC: ``2026-02-27T10:00:00Z``."""
