"""Set of open connections that all lead to one database of one server, as one role: which are good, and their closing.

Laws:

- The server is that of the newest connection; but one that is read-only is not taken while a connection to one that can
  be written to lives.
- A connection to another server, to another database of it, or as another role is retired: closed at once when it is
  free, and when it is back otherwise.
- A server that is promoted where it stands is the same server.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from authcore.store.failures import DRIVER_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from authcore.store.address import Opened, Server

CLOSE_SECONDS: Final = 2.0


class Connections:
    """The open connections of a process.

    Attributes:
        every: All that are open, lent or free.
        free: Those that are not lent; the one used last is at the end.
        server: The server, database and role they lead to; None before the first.
        moves: Counts how often that changed, but for whether it takes writes.
        moved: Called when it has changed, once the connections to the old one are retired.
        suspected: Called when a connection shows that its server is not what it was.
    """

    def __init__(self) -> None:
        self.every: set[Opened] = set()
        self.free: deque[Opened] = deque()
        self.server: Server | None = None
        self.moves = 0
        self.moved: Callable[[], None] = lambda: None
        self.suspected: Callable[[], None] = lambda: None
        self._emptied = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_read_only(self) -> bool:
        """True if the server is known to refuse writes."""
        return self.server is not None and self.server.read_only

    def is_good(self, one: Opened) -> bool:
        """Return whether a connection may be lent."""
        if one.retired or one.connection.is_closed() or self.server is None:
            return False
        if not one.server.is_same_view(self.server):
            return False
        is_read_only = one.is_read_only
        if is_read_only == self.server.read_only:
            return True
        if not is_read_only:  # promoted where it stands
            self.server = self.server._replace(read_only=False)
            return True
        self.suspected()
        return False

    def follow(self, one: Opened) -> bool:
        """Go where a new connection leads; False if it leads to a server that is worse than the one there is."""
        found, known = one.server, self.server
        if known is not None and found.read_only and not known.read_only and self._has_writable():
            return False
        self.server = found
        if known is not None and found != known:
            self.retire(lambda other: not other.server.is_same_view(found) or other.is_read_only)
            if not known.is_same_view(found):
                self.moves += 1
                self.moved()
        return True

    def _has_writable(self) -> bool:
        return any(not (one.retired or one.connection.is_closed() or one.is_read_only) for one in self.every)

    def retire(self, which: Callable[[Opened], bool] = lambda _: True) -> None:
        """Let connections not be lent again."""
        for one in self.every:
            one.retired = one.retired or which(one)
        for one in [one for one in self.free if one.retired]:
            self.free.remove(one)
            self.drop(one)

    def oldest(self) -> Opened | None:
        """Return the free connection that was opened first, if any is free."""
        return min(self.free, key=lambda one: one.opened, default=None)

    def drop(self, one: Opened) -> None:
        """Close a connection that is not free, in the background."""
        self.every.discard(one)
        if not self.every:
            self._emptied.set()
        if not one.connection.is_closed():
            self.begin(self.close_one(one))

    async def close_one(self, one: Opened) -> None:
        """Close a connection."""
        self.every.discard(one)
        try:
            await one.connection.close(timeout=CLOSE_SECONDS)
        except DRIVER_ERRORS:
            one.connection.terminate()

    def begin(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Do work in the background, until all is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Close every connection, those in use after a moment's grace."""
        self.retire()
        self._emptied.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS if self.every else 0):
                await self._emptied.wait()
        for one in self.every:
            one.connection.terminate()
        self.every.clear()
        if self._tasks:
            await asyncio.wait([*self._tasks], timeout=CLOSE_SECONDS)
        for task in [*self._tasks]:
            task.cancel()
