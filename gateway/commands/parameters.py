"""Parameter types of commands: moments and numbers, each within what a database row and a computation can hold.

Law: what a type returns is in range, in UTC and finite; anything else is a usage error. A test feeds the extremes to
every option of every command.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

_AGO: Final = re.compile(r"([0-9]{1,6})([mhd])")
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_FORM: Final = "write 2030-12-31T23:59:59Z"
_PORT_DIGITS: Final = 5
ROW_NUMBER: Final = click.IntRange(1, 2**63 - 1)
"""Number of a row: PostgreSQL's bigint."""


def host_and_port(text: str, *, usual: str, ports: range) -> tuple[str, int] | None:
    """Return the host, `usual` if there is none, and the port of ``host:port``; None if the port is none of `ports`."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS and int(port) in ports):
        return None
    return host.strip("[]") or usual, int(port)


class Moment(click.ParamType[datetime]):
    """Parameter type of a moment in RFC 3339 with an offset: without one, the time zone would have to be guessed."""

    def __init__(self, *, ago: bool = False) -> None:
        """With `ago`, a duration before now is accepted as well: ``90m``, ``24h``, ``7d``."""
        self.name = "moment" if ago else "date-time"
        self._ago = ago

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return `value` as a moment in UTC; outside the years 1 to 9999 it is a usage error."""
        text = str(value)
        ago = _AGO.fullmatch(text) if self._ago else None
        try:
            if ago is not None:
                return datetime.now(UTC) - int(ago[1]) * _UNITS[ago[2]]
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                self.fail(f"{text!r} has no time zone; {_FORM}", param, ctx)
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            way = f"{_FORM}, or 90m, 24h, 7d for so long ago" if self._ago else _FORM
            self.fail(f"{text!r} is not a moment; {way}", param, ctx)


class FiniteRange(click.FloatRange):
    """Parameter type of a number in a range; ``nan``, which is below and above no bound, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number that `value` is."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number in the range {self._describe_range()}", param, ctx)
        return number
