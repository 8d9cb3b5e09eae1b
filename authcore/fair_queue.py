"""Fair queue: bounded work of many client networks, served in turns.

Laws:

- Networks take turns, whatever number of jobs each has. One that comes anew is behind those that wait and have nothing
  running, and never behind more than one job of each.
- Within a network the kinds of work take turns, and jobs of one kind go in order of arrival.
- No network has more jobs running than its share, and none has more jobs in all than ``each``.
- When the whole is full, a network with fewer jobs takes a place from the one that has most waiting: its last one.
- When a network is full, a kind with fewer of its jobs waiting takes a place from the kind that has most, likewise.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from enum import StrEnum
from typing import Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Work(StrEnum):
    """Kinds of work that costs."""

    LOGIN = "login"
    KNOWN = "known"
    """A sign-in from a network where its e-mail was signed in before."""
    REGISTER = "register"
    INVITATION = "invitation"
    """A registration by an invitation."""
    PASSWORD = "password"  # noqa: S105 -- a kind of work
    """A change of password."""
    KEY = "key"
    """The proof of an API key."""
    NEW_KEY = "new_key"
    """The making of an API key."""
    OWN = "own"
    """What an operator asks for by command."""


class Lane(NamedTuple):
    """Lane of a job: the client network and the kind of work in whose turn it is done."""

    network: str
    work: str


OWN: Final = Lane("", Work.OWN)
"""Work that no client network asked for."""


class QueueFull(Exception):
    """The queue has no room for a job.

    Attributes:
        of_network: Its network has as many as one may have; else the whole is full.
    """

    def __init__(self, *, of_network: bool) -> None:
        super().__init__("the queue of this network is full" if of_network else "the queue is full")
        self.of_network = of_network


class _Network(Generic[T]):
    """Jobs of one network: the waiting ones by kind, in the order of the kinds' turns, and how many run."""

    __slots__ = ("running", "size", "waiting")

    def __init__(self) -> None:
        self.waiting: OrderedDict[str, deque[T]] = OrderedDict()
        self.size = 0
        self.running = 0


class FairQueue(Generic[T]):
    """Jobs that wait, by network and kind, and the count of those that run. Not safe for threads by itself."""

    def __init__(self, *, total: int, each: int, share: int) -> None:
        """Bound the jobs that wait or run to `total`, those of one network to `each`, and of them may run `share`."""
        self.total = total
        self._each = each
        self._share = share
        self._networks: dict[str, _Network[T]] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()
        self._size = self._running = 0

    def __len__(self) -> int:
        """Return how many jobs wait."""
        return self._size

    @property
    def running(self) -> int:
        """Number of jobs that run."""
        return self._running

    @property
    def networks(self) -> int:
        """Number of networks with jobs that wait or run."""
        return len(self._networks)

    def at_share(self, network: str) -> bool:
        """Return whether a network has as many jobs running as it may."""
        own = self._networks.get(network)
        return own is not None and own.running >= self._share

    def put(self, lane: Lane, job: T) -> tuple[Lane, T] | None:
        """Queue a job.

        Returns:
            The job of another network, or of another kind of its own, that lost its place to this one, with its lane;
            None where there was room.

        Raises:
            QueueFull: there is no room for it.
        """
        own = self._networks.get(lane.network)
        count = 0 if own is None else own.size + own.running
        lost = None
        if own is not None and count >= self._each:
            lost = self._displace_own(lane, own)
        elif self._size + self._running >= self.total:
            lost = self._displace(count)
        if own is None:
            own = self._networks[lane.network] = _Network()
        own.waiting.setdefault(lane.work, deque()).append(job)
        own.size += 1
        self._size += 1
        self._line_up(lane.network, own)
        return lost

    def take(self) -> tuple[Lane, T] | None:
        """Return the job whose turn it is, and count it as running; None when none may run."""
        if not self._turns:
            return None
        name, _ = self._turns.popitem(last=False)
        own = self._networks[name]
        work, jobs = own.waiting.popitem(last=False)
        job = jobs.popleft()
        if jobs:
            own.waiting[work] = jobs
        own.size -= 1
        own.running += 1
        self._size -= 1
        self._running += 1
        self._line_up(name, own)
        return Lane(name, work), job

    def done(self, lane: Lane) -> None:
        """Count the end of a job that was taken."""
        own = self._networks[lane.network]
        own.running -= 1
        self._running -= 1
        self._line_up(lane.network, own)
        self._forget(lane.network, own)

    def discard(self, lane: Lane, job: T) -> bool:
        """Take a job out that waits; False when it does not, or not any more."""
        own = self._networks.get(lane.network)
        jobs = None if own is None else own.waiting.get(lane.work)
        if own is None or jobs is None or job not in jobs:
            return False
        jobs.remove(job)
        self._removed(lane.network, own, lane.work)
        return True

    def drain(self) -> list[T]:
        """Take every job out that waits."""
        jobs = [job for own in self._networks.values() for waiting in own.waiting.values() for job in waiting]
        for name, own in list(self._networks.items()):
            own.waiting.clear()
            own.size = 0
            self._forget(name, own)
        self._turns.clear()
        self._size = 0
        return jobs

    def _displace(self, count: int) -> tuple[Lane, T]:
        """Take the last job of the network that has most waiting, if it has more than one with `count` would have.

        Raises:
            QueueFull: none has.
        """
        name, most = max(self._networks.items(), key=lambda item: item[1].size)
        if most.size + most.running <= count + 1 or not most.size:
            raise QueueFull(of_network=False)
        return self._last(name, most)

    def _displace_own(self, lane: Lane, own: _Network[T]) -> tuple[Lane, T]:
        """Take the last job of the kind of which a network has most waiting, if that is more than of `lane`.

        Raises:
            QueueFull: it is not.
        """
        most = max(map(len, own.waiting.values()), default=0)
        if most <= len(own.waiting.get(lane.work, ())) + 1:
            raise QueueFull(of_network=True)
        return self._last(lane.network, own)

    def _last(self, name: str, own: _Network[T]) -> tuple[Lane, T]:
        """Take out the last job of the kind of which a network has most waiting."""
        work, jobs = max(own.waiting.items(), key=lambda item: len(item[1]))
        job = jobs.pop()
        self._removed(name, own, work)
        return Lane(name, work), job

    def _removed(self, name: str, own: _Network[T], work: str) -> None:
        if not own.waiting[work]:
            del own.waiting[work]
        own.size -= 1
        self._size -= 1
        if not own.size:
            self._turns.pop(name, None)
        self._forget(name, own)

    def _line_up(self, name: str, own: _Network[T]) -> None:
        """Give a network its place among the turns, behind all that have one, if it may have a job run."""
        if own.size and own.running < self._share and name not in self._turns:
            self._turns[name] = None

    def _forget(self, name: str, own: _Network[T]) -> None:
        if not own.size and not own.running:
            del self._networks[name]
