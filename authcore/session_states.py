"""State tables of refresh tokens: the states, the uses of a token, and the effect of each use.

Laws:

- PostgreSQL is given one of the tables and decides by it (``authcore/store/sessions.py``). No other code decides.
- Nobody counts as a thief before the successor has been used: until then a second use is what ``Reuse`` says. Once the
  successor has been used, the use of an older token is theft, whatever ``Reuse`` says.
- Two uses within the grace are one client that raced itself, whatever ``Reuse`` says.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authcore.store.session_rows import Transitions


class State(StrEnum):
    """State of a refresh token. Being revoked and being expired come from its session and the time, not from a use."""

    ISSUED = "issued"
    ROTATED = "rotated"
    """Used once; its successor has not been used."""
    SUPERSEDED = "superseded"
    """Used once, and its successor has been used as well."""
    REUSED = "reused"
    REVOKED = "revoked"
    EXPIRED = "expired"


class Event(StrEnum):
    """Use of a refresh token. Race, retry and return are second uses."""

    REFRESH = "refresh"
    """Any use that is none of the following."""
    RACE = "race"
    """A refresh within the grace after the one that rotated it."""
    RETRY = "retry"
    """A refresh after the grace by the user agent that rotated it, until a minute after the access token of that
    rotation has expired."""
    RETURN = "return"
    """A refresh later than a retry, by the user agent that rotated it."""
    LOGOUT = "logout"


class Effect(StrEnum):
    """Effect of a use."""

    ISSUE = "issue"
    """A new pair. Its refresh token is issued in the same family."""
    REPEAT = "repeat"
    """The pair that the rotation gave, again."""
    RENEW = "renew"
    """The refresh token that the rotation gave, again, with a new access token."""
    END = "end"
    """The family is revoked."""
    REFUSE = "refuse"


class Reuse(StrEnum):
    """Policy for a second use after the grace, while the successor is unused and the user agent is the same."""

    STRICT = "strict"
    """Theft."""
    RETRY = "retry"
    """A client that lost the answer, for as long as ``Event.RETRY`` lasts; then theft."""
    KEEP = "keep"
    """A client that never takes a successor."""


_THEFT: Final = (State.REUSED, Effect.END)
_SECOND_USES: Final = (Event.RETRY, Event.RETURN, Event.REFRESH)
_STRICT: Final[Mapping[tuple[State, Event], tuple[State, Effect]]] = {
    (State.ISSUED, Event.REFRESH): (State.ROTATED, Effect.ISSUE),
    (State.ISSUED, Event.LOGOUT): (State.REVOKED, Effect.END),
    (State.ROTATED, Event.RACE): (State.ROTATED, Effect.REPEAT),
    (State.ROTATED, Event.LOGOUT): (State.REVOKED, Effect.END),
    (State.SUPERSEDED, Event.RACE): (State.SUPERSEDED, Effect.REPEAT),
    (State.SUPERSEDED, Event.LOGOUT): (State.REVOKED, Effect.END),
    **{(used, event): _THEFT for used in (State.ROTATED, State.SUPERSEDED) for event in _SECOND_USES},
    **{
        (over, event): (over, Effect.REFUSE)
        for over in (State.REUSED, State.REVOKED, State.EXPIRED)
        for event in Event
    },
}

TABLES: Final[Mapping[Reuse, Mapping[tuple[State, Event], tuple[State, Effect]]]] = {
    Reuse.STRICT: _STRICT,
    Reuse.RETRY: {**_STRICT, (State.ROTATED, Event.RETRY): (State.ROTATED, Effect.REPEAT)},
    Reuse.KEEP: {
        **_STRICT,
        (State.ROTATED, Event.RETRY): (State.ROTATED, Effect.RENEW),
        (State.ROTATED, Event.RETURN): (State.ROTATED, Effect.RENEW),
    },
}
"""By policy: (state, event) -> (next state, effect). A token that is issued has no second use, so no row for one."""


def transitions_of(reuse: Reuse) -> Transitions:
    """Return the table as PostgreSQL takes it: four columns."""
    return tuple(zip(*((*when, *then) for when, then in TABLES[reuse].items()), strict=True))
