"""State table: the states of one kind of connection, the events, and the state after each event.

The tables are in :mod:`gateway.wire.downstream_states`, :mod:`~gateway.wire.upstream_states` and
:mod:`~gateway.wire.tunnel_states`. A state is a plain integer: the warm path compares it, and compiled code compares
integers for nothing. Laws:

- A connection changes its state by its table alone. An event that the state's row does not name is a mistake of the
  gateway: :class:`IllegalEvent` is raised and nothing has changed, so that the event loop drops the connection.
- What is not in the table does not depend on a state, or is one of two flags that are true in any of them: the peer
  does not take what is written (``full``), and reading is paused (``paused``).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ILLEGAL: Final = 255
_SHIFT: Final = 4
"""Rows have sixteen columns: compiled, a shift costs a fraction of a multiplication."""


class Stateful(Protocol):
    """Object in a named state."""

    @property
    def state(self) -> str:
        """The name of the state."""


def in_states(of: Iterable[Stateful]) -> dict[str, int]:
    """Return how many of the objects are in each state, the most common state first."""
    return dict(Counter(one.state for one in of).most_common())


class IllegalEvent(Exception):
    """The event cannot happen in the state."""


class StateTable:
    """State table of one kind of connection.

    Attributes:
        states: The names of the states, in the order of their numbers.
        events: The names of the events, in the order of their numbers.
        rows: By state, then by event: the next state.
    """

    __slots__ = ("_next", "events", "rows", "states")

    def __init__(self, states: str, events: str, rows: Mapping[int, Mapping[int, int]]) -> None:
        """`states` and `events` are the names, separated by spaces."""
        self.states = tuple(states.split())
        self.events = tuple(events.split())
        self.rows = rows
        if len(self.events) > 1 << _SHIFT:
            raise ValueError("more events than columns")
        self._next = bytes(
            rows.get(state, {}).get(event, _ILLEGAL)
            for state in range(len(self.states))
            for event in range(1 << _SHIFT)
        )

    def after(self, state: int, event: int) -> int:
        """Return the state after `event` in `state`.

        Raises:
            IllegalEvent: the event cannot happen in this state.
        """
        following = self._next[state << _SHIFT | event]
        if following == _ILLEGAL:
            raise IllegalEvent(f"{self.events[event]} in state {self.states[state]}")
        return following
