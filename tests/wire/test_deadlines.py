"""The sweeper of deadlines: each object whose time is over expires, and no other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gateway.wire.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable


class Watched:
    """An object whose expiry does something to others."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadline: float | None = deadlines.now
        self.expired = 0
        self.then: Callable[[], None] = lambda: None
        deadlines.watched.add(self)

    def expire(self) -> None:
        self.expired += 1
        self.then()


async def swept(then: Callable[[Deadlines, Watched], None]) -> tuple[Watched, Watched]:
    """Two objects that were due in one sweep, of which the first that expired did `then` to the other one."""
    deadlines = Deadlines()
    pair = Watched(deadlines), Watched(deadlines)
    for one, other in (pair, pair[::-1]):
        one.then = partial(then, deadlines, other)
    deadlines.start()  # it sweeps once at once
    deadlines.stop()
    return pair


async def test_all_that_is_due_expires_in_one_sweep() -> None:
    assert [one.expired for one in await swept(lambda _deadlines, _other: None)] == [1, 1]


async def test_a_deadline_that_was_set_anew_in_the_sweep_has_not_passed() -> None:
    """A connection that was due as unused is lent, in the same sweep, to a request whose attempt was late."""

    def renew(deadlines: Deadlines, other: Watched) -> None:
        other.deadline = deadlines.after(10)

    pair = await swept(renew)
    assert sorted(one.expired for one in pair) == [0, 1]
    assert sorted(one.deadline is not None for one in pair) == [False, True]


async def test_what_ended_in_the_sweep_does_not_expire() -> None:
    pair = await swept(lambda deadlines, other: deadlines.watched.discard(other))
    assert sorted(one.expired for one in pair) == [0, 1]
