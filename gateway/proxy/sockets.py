"""Watch over what callers have open, WebSockets and streams: each ends when its caller's access does.

Laws:

- A socket is closed with 4401, and a stream ended (:mod:`gateway.proxy.streams`), when its time is over, or when a new
  request with the same credential would be refused (:mod:`authcore.store.revocation`). The database notifies changed
  rows, regardless of the writer. While it does not, every socket is checked every second.
- A notification only selects the sockets to check. One statement checks a thousand of them, so that a storm of changes
  does not cost a statement each.
- A socket is checked once right after it is registered: a change between its authentication and its registration was
  notified to no socket. A stream is registered when it has lasted for a while.
- An outage closes nothing. Suspects remain so until the store answers.
- An end that the row of an API key is given later counts as one that it had.
- A token's expiry ends the socket it opened. A ticket's does not, since it lives for seconds: its session counts, and
  ``max_seconds``. So it is with an access token in a ticket's place, if it is of a session. Sockets of public routes
  are nobody's and not looked at, nor are those that nobody has authenticated yet.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from authcore.errors import StoreUnavailable
from authcore.principal import ANONYMOUS, AuthMethod
from authcore.revocation import RevocationReason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from uuid import UUID

    from authcore.permit import Permit
    from authcore.principal import Principal
    from authcore.revocation import Standings
    from authcore.store.rows import Change

UNAUTHORIZED: Final = 4401
LOOK_SECONDS: Final = 0.25
UNPUSHED_SECONDS: Final = 1.0
"""Every socket is looked at this often while the database does not tell of changes …"""
PUSHED_SECONDS: Final = 60.0
"""… and this often while it does: for what ends by time alone."""
BATCH: Final = 1000

_WORDS: Final = {
    RevocationReason.USER: "account disabled",
    RevocationReason.MEMBERSHIP: "no longer a member of the organization",
    RevocationReason.SESSION: "session ended",
    RevocationReason.KEY: "key revoked",
    RevocationReason.TIME: "expired",
}

log = structlog.get_logger()


class Closable(Protocol):
    """Protocol of a tunnel or stream that can be closed from here."""

    def close(self, code: int, text: str, why: str) -> None:
        """Close it, telling the client `code` and `text`; `why` is for the record."""


class WatchedKind:
    """Kind of watched connection, a socket or a stream, with its bound and counts.

    Attributes:
        max_seconds: How long one may be open.
        open: How many are watched now.
        closed: How many were closed here, by why.
    """

    def __init__(self, max_seconds: float) -> None:
        self.max_seconds = max_seconds
        self.open = 0
        self.closed: dict[RevocationReason, int] = dict.fromkeys(RevocationReason, 0)


class Socket:
    """Watched socket or stream, with its caller."""

    __slots__ = ("kind", "number", "principal", "tunnel", "until")

    def __init__(self, tunnel: Closable, principal: Principal, kind: WatchedKind, number: int) -> None:
        self.until = math.inf
        self.tunnel = tunnel
        self.kind = kind
        self.principal = principal
        self.number = number

    @property
    def rows(self) -> set[UUID]:
        """The rows it depends on, each once."""
        one = self.principal
        organizations = (one.organization_id, one.own_organization_id)
        ids = (one.user_id, *organizations, one.session_id, one.key_id, *one.parents)
        return {row for row in ids if row is not None}


class Sockets:
    """The sockets and streams that are open, and the watch over them.

    Attributes:
        now: The clock that credentials are judged by, POSIX seconds.
        sockets: WebSockets.
        streams: Requests and answers whose bodies take long.
    """

    def __init__(
        self,
        standings: Callable[[Sequence[Principal], float], Awaitable[Standings]],
        *,
        pushed: Callable[[], bool],
        max_seconds: float,
        stream_max_seconds: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`standings` judges principals, by their places; `pushed` returns whether changes are heard at once.

        `now` is the clock that credentials are judged by, POSIX seconds.
        """
        self.now = now
        self._standings = standings
        self._pushed = pushed
        self.sockets = WatchedKind(max_seconds)
        self.streams = WatchedKind(stream_max_seconds)
        self._open: set[Socket] = set()
        self._by_row: dict[UUID, set[Socket]] = {}
        self._suspects: set[Socket] = set()
        # By their numbers: what lies here until its time must not keep a socket that has ended, nor all its buffers.
        self._ends: list[tuple[float, int]] = []
        self._by_number: dict[int, Socket] = {}
        self._number = count()
        self._woken = asyncio.Event()
        self._looked = 0.0
        self._withdrew = -math.inf

    def __len__(self) -> int:
        return len(self._open)

    def opened(  # noqa: PLR0913 -- the socket, and what is known of it by name
        self,
        tunnel: Closable,
        permit: Permit | None,
        now: float,
        *,
        like_ticket: bool = False,
        kind: WatchedKind | None = None,
        since: float = math.inf,
    ) -> Socket | None:
        """Watch over a socket from now on; None when it is nobody's.

        Args:
            tunnel: What its bytes go through.
            permit: What let it in.
            now: POSIX seconds.
            like_ticket: Its token came where tickets come.
            kind: ``sockets`` (the default) or ``streams``.
            since: When its credential was looked at, by the monotonic clock; a key revoked since then closes it.
        """
        if permit is None or permit.principal is ANONYMOUS:
            return None
        principal = permit.principal
        kind = self.sockets if kind is None else kind
        socket = Socket(tunnel, principal, kind, next(self._number))
        self._open.add(socket)
        kind.open += 1
        self._by_number[socket.number] = socket
        for row in socket.rows:
            self._by_row.setdefault(row, set()).add(socket)
        until = now + kind.max_seconds
        lasts = principal.method is AuthMethod.WS or (like_ticket and principal.session_id is not None)
        end = principal.until if lasts else principal.expires_at
        if end is not None:
            until = min(until, end)
        self._ends_by(socket, until)
        self._suspect([socket])
        if since <= self._withdrew and principal.method is not AuthMethod.API_KEY:
            self._close(socket, RevocationReason.KEY)
        return socket

    def ended(self, socket: Socket | None) -> None:
        """Stop watching it."""
        if socket is None or socket not in self._open:
            return
        self._open.discard(socket)
        socket.kind.open -= 1
        self._suspects.discard(socket)
        del self._by_number[socket.number]
        for row in socket.rows:
            sockets = self._by_row[row]
            sockets.discard(socket)
            if not sockets:
                del self._by_row[row]
        # Mostly of sockets that have ended before their time.
        if len(self._ends) > 2 * len(self._open) + BATCH:
            self._ends = [entry for entry in self._ends if entry[1] in self._by_number]
            heapq.heapify(self._ends)

    async def has_ended(self, principal: Principal) -> bool:
        """Return whether the access of a caller who was proved before has ended.

        Raises:
            StoreUnavailable: it cannot be judged now.
        """
        return bool((await self._standings([principal], self.now())).revoked)

    def withdraw(self) -> None:
        """Close whatever a token opened: a key that signs them is revoked."""
        self._withdrew = time.monotonic()
        for socket in list(self._open):
            if socket.principal.method is not AuthMethod.API_KEY:
                self._close(socket, RevocationReason.KEY)

    # -- what the database tells ----------------------------------------------------------------------------------

    def hear(self, change: Change) -> None:
        """Rows have changed."""
        if change.everything:
            self._suspect(self._open)
            return
        for row in (*change.rows, *(user for user, _ in change.memberships)):
            self._suspect(self._by_row.get(row, ()))

    def begin_gap(self) -> None:
        """From now on changes may go unheard: :meth:`watch` looks by itself."""

    def end_gap(self) -> None:
        """Changes are heard again; what was missed is looked up."""
        self._suspect(self._open)

    def _suspect(self, sockets: Iterable[Socket]) -> None:
        self._suspects.update(sockets)
        if self._suspects:
            self._woken.set()

    # -- the watch -------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Look after the sockets, for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._woken.wait()
            self._woken.clear()
            try:
                await self.look(self.now(), asyncio.get_running_loop().time())
            except StoreUnavailable:
                await asyncio.sleep(LOOK_SECONDS)
            except Exception:
                log.exception("sockets_not_looked_at")
                await asyncio.sleep(LOOK_SECONDS)

    async def look(self, now: float, clock: float) -> None:
        """Close those whose time is over, and those of the suspects whose access has ended.

        Raises:
            StoreUnavailable: They cannot be judged now, and remain suspects.
        """
        while self._ends and self._ends[0][0] <= now:
            socket = self._by_number.get(heapq.heappop(self._ends)[1])
            if socket is not None:
                self._close(socket, RevocationReason.TIME)
        if clock - self._looked >= (PUSHED_SECONDS if self._pushed() else UNPUSHED_SECONDS):
            self._looked = clock
            self._suspects.update(self._open)
        while self._suspects:
            batch = [self._suspects.pop() for _ in range(min(BATCH, len(self._suspects)))]
            try:
                found = await self._standings([socket.principal for socket in batch], now)
            except BaseException:
                self._suspects.update(socket for socket in batch if socket in self._open)
                raise
            for place, why in found.revoked.items():
                self._close(batch[place], why)
            for place, end in found.ends.items():
                self._ends_by(batch[place], end)

    def _ends_by(self, socket: Socket, end: float) -> None:
        """Close the socket at `end`, POSIX seconds, unless its time is over before."""
        if socket in self._open and end < socket.until:
            socket.until = end
            heapq.heappush(self._ends, (end, socket.number))

    def _close(self, socket: Socket, why: RevocationReason) -> None:
        if socket in self._open:
            socket.kind.closed[why] += 1
            self.ended(socket)
            socket.tunnel.close(
                UNAUTHORIZED, _WORDS[why], "expired" if why is RevocationReason.TIME else "revoked"
            )
