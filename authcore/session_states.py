"""State tables of refresh tokens: what a token is, what is done with it, and what comes of that.

Laws:

- PostgreSQL is handed a table and decides by it (``authcore/store/sessions.py``); nothing here decides beside it.
- Nobody is taken for a thief before somebody has used what a thief would have: while the successor is unused, a second
  use is what ``Reuse`` says. Once the successor has been used, an older token is theft, whatever ``Reuse`` says.
- Two uses within the grace are one client racing itself, whatever ``Reuse`` says.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authcore.store.session_rows import Laws


class State(StrEnum):
    """What a refresh token is. The last two are entered without the token as well: its session ends, its time ends."""

    ISSUED = "issued"
    ROTATED = "rotated"
    """Used once; its successor has not been used."""
    SUPERSEDED = "superseded"
    """Used once, and its successor has been used as well."""
    REUSED = "reused"
    REVOKED = "revoked"
    EXPIRED = "expired"


class Event(StrEnum):
    """What is done with a refresh token. The three between the first and the last are second uses of a used one."""

    REFRESH = "refresh"
    """Any use that is none of the following."""
    RACE = "race"
    """A refresh within the grace after the one that rotated it."""
    RETRY = "retry"
    """Later, by the user agent that rotated it, until the access token issued then has expired and a minute more."""
    RETURN = "return"
    """Later still, by the user agent that rotated it."""
    LOGOUT = "logout"


class Effect(StrEnum):
    """What comes of it."""

    ISSUE = "issue"
    """A new pair; its refresh token is issued, in the same family."""
    REPEAT = "repeat"
    """The pair that its rotation gave, once more."""
    RENEW = "renew"
    """The refresh token that its rotation gave, once more, with a new access token."""
    END = "end"
    """The family is revoked."""
    REFUSE = "refuse"


class Reuse(StrEnum):
    """What a second use after the grace is, while the successor is unused and the user agent is the same."""

    STRICT = "strict"
    """Theft."""
    RETRY = "retry"
    """For a while a client that lost the answer."""
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
"""(state, event) -> (next state, effect), by what a second use is. What is issued was never used: no second use."""


def laws_of(reuse: Reuse) -> Laws:
    """Return the table as PostgreSQL takes it: four columns."""
    return tuple(zip(*((*when, *then) for when, then in TABLES[reuse].items()), strict=True))
