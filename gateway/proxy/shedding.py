"""Load shedder: it refuses some requests so that others are served, while the process has more than it can do.

Laws:

- Overload is a lag of the event loop in several sweeps on end, or memory near the bound of the cgroup.
- Shed are first requests without a proven caller, then dear ones as well: those of a route with a ``cost`` above 1, and
  those with a body that is large or of unknown length. Requests of known callers that are neither are never shed.
- The gateway's own endpoints, signing out among them, and paths of health checks are never shed.
- It rises by one level at a look, and falls by one when all was calm for a while.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from authcore.principal import ANONYMOUS
from gateway.faults import GatewayFault
from gateway.wire.messages import BodyKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from authcore.permit import Permit
    from gateway.proxy.routes import Route
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.messages import RequestHead

PUBLIC, DEAR = 1, 2
LATE_SWEEPS: Final = 4
"""So many sweeps on end, a second, have to be late: one long pause is no overload."""
CALM_SECONDS: Final = 5.0
DEAR_BYTES: Final = 65_536
HEALTH: Final = frozenset({"/health", "/healthz", "/ready", "/readyz", "/livez"})
_ROOT: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")
_VERSION_2: Final = "0::/"

log = structlog.get_logger()


class Shed(GatewayFault):
    """The process is overloaded, and other requests come first."""

    status = 503
    reason = "shed"
    headers = {"Retry-After": "2"}  # noqa: RUF012 -- as its kind has it


def memory_used(root: Path = _ROOT, own: Path = _OWN) -> float:
    """Return the share of its memory bound that a cgroup uses, without reclaimable pages of files; 0 without a bound.

    Of the process's cgroup and those above it, the one that is nearest to its bound counts.

    Args:
        root: Where the cgroups are mounted.
        own: The file that names the process's cgroup. In a container of its own namespace that is the root.
    """
    return max(map(_used, _cgroups(root, own)))


def _cgroups(root: Path, own: Path) -> list[Path]:
    """Return the process's cgroup of version 2, and those above it up to the root."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    named = next((line.removeprefix(_VERSION_2) for line in lines if line.startswith(_VERSION_2)), "")
    names = Path(named).parts
    return [root.joinpath(*names[:depth]) for depth in range(len(names) + 1)]


def _used(cgroup: Path) -> float:
    try:
        most = (cgroup / "memory.max").read_text().strip()
        if most == "max":
            return 0.0
        used = int((cgroup / "memory.current").read_text())
        counts = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        return (used - int(counts.get("inactive_file", 0))) / int(most)
    except (OSError, ValueError, ZeroDivisionError):  # no cgroup of version 2, or the root of all
        return 0.0


class Shedder:
    """Load shedder of one process.

    Attributes:
        level: 0 while nothing is shed, then ``PUBLIC`` and ``DEAR``.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        *,
        lag_seconds: float,
        memory: float,
        memory_now: Callable[[], float] = memory_used,
    ) -> None:
        """A bound of 0 is none; `memory` and what `memory_now` returns are shares of the cgroup's bound."""
        self._deadlines = deadlines
        self._lag_seconds = lag_seconds
        self._memory = memory
        self._memory_now = memory_now
        self._looked = self._busy = 0.0
        self.level = 0

    def admit(self, head: RequestHead, path: str, route: Route, permit: Permit) -> None:
        """Let a permitted request pass, or shed it.

        Raises:
            Shed: other requests come first.
        """
        if self._looked != self._deadlines.now:
            self.look(self._deadlines.now)
        if not self.level or route.internal or path in HEALTH:
            return
        if permit.principal is ANONYMOUS or (self.level >= DEAR and _is_dear(head, route)):
            raise Shed("Too much is asked of the gateway at the moment, try again shortly")

    def look(self, now: float) -> None:
        """Set the level at `now`, in the loop's seconds; once a sweep."""
        self._looked = now
        because = self._overload()
        if because:
            self._busy = now
            if self.level < DEAR:
                self.level += 1
                log.warning("load_shed", level=self.level, because=because)
        elif self.level and now - self._busy >= CALM_SECONDS:
            self._busy = now
            self.level -= 1
            log.info("load_shed_less", level=self.level)

    def _overload(self) -> str:
        lateness = self._deadlines.lateness
        if self._lag_seconds and len(lateness) >= LATE_SWEEPS:
            lag = min(islice(reversed(lateness), LATE_SWEEPS))
            if lag >= self._lag_seconds:
                return f"the event loop lags by {lag:.2f} s"
        if self._memory and (used := self._memory_now()) >= self._memory:
            return f"{used:.0%} of the memory is used"
        return ""


def _is_dear(head: RequestHead, route: Route) -> bool:
    limits = route.limits
    return (
        head.length > DEAR_BYTES or head.kind is BodyKind.CHUNKED or (limits is not None and limits.cost > 1)
    )
