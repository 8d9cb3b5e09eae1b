"""Rates of limits, as operators write them: ``100/s``, ``3000/10m burst 200``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from config.fields import split

_RATE: Final = re.compile(
    r"(?P<units>[1-9][0-9]{0,8})/(?P<number>[1-9][0-9]{0,4})?(?P<unit>[smhd])(?: burst (?P<burst>[1-9][0-9]{0,8}))?"
)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST_SECONDS: Final = 31 * 86_400
MOST_UNITS: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """Rate of a limit.

    Attributes:
        units: Requests, or their cost, granted in `seconds` on average.
        seconds: The span.
        burst: What is granted at once.
    """

    units: int
    seconds: int
    burst: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Parse ``count/[number]unit[ burst count]``; without a burst it is the count.

        Raises:
            ValueError: the text is not of that form, or out of bounds.
        """
        match = _RATE.fullmatch(" ".join(text.split()))
        if match is None:
            raise ValueError("should be a count per s, m, h or d, such as 100/s, 30/10m or 100/s burst 200")
        units, seconds = int(match["units"]), int(match["number"] or 1) * _SECONDS[match["unit"]]
        burst = int(match["burst"] or units)
        if max(units, burst) > MOST_UNITS or seconds > LONGEST_SECONDS:
            raise ValueError(f"should count {MOST_UNITS:,} at most, over 31d at most")
        return cls(units, seconds, burst)


def _rate(text: str) -> str:
    Rate.parse(text)
    return text


RateText = Annotated[
    str,
    AfterValidator(_rate),
    Field(
        json_schema_extra={
            "pattern": r"^\s*[1-9][0-9]{0,8}/([1-9][0-9]{0,4})?[smhd](\s+burst\s+[1-9][0-9]{0,8})?\s*$"
        },
        examples=["100/s burst 200"],
    ),
]
Rates = Annotated[tuple[RateText, ...], NoDecode, BeforeValidator(split)]
