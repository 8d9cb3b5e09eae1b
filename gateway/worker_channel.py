"""Channel between the parent of workers and one worker: the parent sends connections to the worker's admin listener.

It is a pair of sockets without a name. Laws:

- Nobody but the parent can ask a worker. There is no path that a user of the machine could connect to, and none that a
  cleaner of temporary files could remove; nothing is left behind in the file system.
- The worker reads the end of the channel when its parent is gone, however it ended.
- A connection that the worker has not taken yet waits in the channel. When the process ends, it ends too.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_CONNECTION: Final = b"c"
_SERVED: Final = b"s"


class ParentEnd:
    """The parent's end of the channel to one process.

    Attributes:
        far: The worker's end; to be closed here once the process has it.
    """

    def __init__(self) -> None:
        self._near, self.far = socket.socketpair()
        self._near.setblocking(False)  # noqa: FBT003 -- the library's

    def connect(self) -> socket.socket:
        """Return a new connection to the worker's admin listener.

        Raises:
            OSError: the process has ended, or has left many connections untaken; or there is no descriptor left.
        """
        mine, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._near, [_CONNECTION], [theirs.fileno()])
            except OSError:
                mine.close()
                raise
        return mine

    @property
    def is_served(self) -> bool:
        """True once the worker takes connections."""
        try:
            return bool(self._near.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def close(self) -> None:
        """Close the channel."""
        self._near.close()


class WorkerEnd:
    """The worker's end.

    Attributes:
        parent_gone: Set once the parent has closed the channel, or is gone. It is looked for from :meth:`accept` on.
    """

    def __init__(self, descriptor: int) -> None:
        """Take over the inherited `descriptor`.

        Raises:
            OSError: it is no socket.
        """
        self._channel = socket.socket(fileno=descriptor)
        self._channel.setblocking(False)  # noqa: FBT003 -- the library's
        self._channel.set_inheritable(False)
        self.parent_gone = asyncio.Event()

    def accept(self, take: Callable[[socket.socket], None]) -> None:
        """Call `take` with each connection from now on, and let the parent see that."""
        asyncio.get_running_loop().add_reader(self._channel, self._read, take)
        with suppress(OSError):  # the parent is gone, which the reader is about to find
            self._channel.send(_SERVED)

    def close(self) -> None:
        """Close the channel; to be called in the loop that it was read in."""
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()

    def _read(self, take: Callable[[socket.socket], None]) -> None:
        # To its end: uvloop watches a socket no more whose other end was closed with bytes unread, as with _SERVED.
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
            except BlockingIOError:
                return
            except OSError:  # the parent never reads _SERVED, so its end may be a reset
                message, descriptors = b"", []
            for descriptor in descriptors:
                one = socket.socket(fileno=descriptor)
                one.set_inheritable(False)
                take(one)
            if not message:
                asyncio.get_running_loop().remove_reader(self._channel)
                self.parent_gone.set()
                return


class WorkerTerms(NamedTuple):
    """Terms of a worker: what a gateway is started with if it is one of several.

    Attributes:
        channel: Its end of the channel to the parent.
        processes: How many workers there are.
        log_turns: Descriptor of the file by which they take turns at the log.
        redirect_listen: Addresses that the parent has bound for GATEWAY_TLS_REDIRECT_LISTEN; empty without it.
    """

    channel: WorkerEnd
    processes: int
    log_turns: int
    redirect_listen: tuple[str, ...]
