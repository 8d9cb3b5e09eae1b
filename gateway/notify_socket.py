"""Notification socket of the service manager (systemd's ``sd_notify``): ready, stopping, alive.

Laws:

- A socket that cannot be written to is passed over: no service fails because nobody listens.
- Signs of life are sent by the event loop, so that a loop that hangs sends none; the service is then restarted.
- Of ``serve --workers`` the parent alone speaks: it asks its workers for signs of life itself.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from config.notification import Notification

_POLL_SECONDS: Final = 0.2


class NotifySocket:
    """Sender to the notification socket of one process."""

    def __init__(self, wished: Notification) -> None:
        """Hold what is wished for; an empty address makes every method do nothing."""
        self._wished = wished
        self._beating: asyncio.Task[None] | None = None

    def ready(self) -> None:
        """Report that the service accepts connections, and from now on that it is alive, until the event loop ends."""
        self._send(b"READY=1")
        if self._wished.watchdog_seconds is not None:
            beat = self._beat(self._wished.watchdog_seconds / 2)
            self._beating = asyncio.get_running_loop().create_task(beat)

    def stopping(self) -> None:
        """Report that the service has begun to stop."""
        self._send(b"STOPPING=1")

    async def _beat(self, seconds: float) -> None:
        while True:
            self._send(b"WATCHDOG=1")
            await asyncio.sleep(seconds)

    def _send(self, message: bytes) -> None:
        if not self._wished.address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(0)
                sender.sendto(message, self._wished.address)
        except OSError:
            return


async def speak_for_workers(
    wished: Notification, all_answer: Callable[[], Awaitable[bool]], stopping: asyncio.Event
) -> None:
    """Report for a parent: ready once `all_answer` has been true, and the end when `stopping` is set."""
    if not wished.address:
        return
    notify = NotifySocket(wished)
    while not stopping.is_set():
        if await all_answer():
            notify.ready()
            break
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _POLL_SECONDS)
    await stopping.wait()
    notify.stopping()
