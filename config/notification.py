"""Reader of the service manager's variables (``sd_notify``): its socket, and the interval of its watchdog.

They are no settings: the manager sets them for each start.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Notification:
    """Notifications that the service manager asks for.

    Attributes:
        address: Its datagram socket: a path, or an abstract name that begins with NUL; empty if it wants nothing.
        watchdog_seconds: It wants a sign of life within these; None if it wants none from this process.
    """

    address: str = ""
    watchdog_seconds: float | None = None


def wished_notification(environment: Mapping[str, str] | None = None) -> Notification:
    """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from `environment`, by default the process's own."""
    given = os.environ if environment is None else environment
    address = given.get("NOTIFY_SOCKET", "")
    micro = given.get("WATCHDOG_USEC", "")
    ours = given.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    wanted = address and ours and micro.isascii() and micro.isdigit() and int(micro) > 0
    return Notification(
        f"\0{address[1:]}" if address.startswith("@") else address,
        int(micro) / _MICROSECONDS if wanted else None,
    )
