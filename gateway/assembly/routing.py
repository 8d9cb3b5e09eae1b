"""Hot reload of the route table: it replaces the table and the upstreams while requests flow.

Laws:

- A plan is read, checked and compiled before anything changes; then table and upstreams are swapped in one turn of the
  event loop. A request that has its route keeps it, and its upstream's pool, to the end.
- A plan that is refused changes nothing: every problem is logged, a metric reports it, and the old table stays.
- The file is checked by name, so a link that is moved to another file (a ConfigMap) counts as a change of it.
- A refused plan is read again after a pause, until it is good: a certificate that it names may be written later, and a
  failure to read may pass. A refusal with the same problems is neither logged nor counted again.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING, Final

import structlog

from config.files import read_file
from config.route_plan import RoutesRefused, read_plan
from gateway.assembly.limits import Limiting
from gateway.assembly.plan_warnings import plan_warnings
from gateway.assembly.routes import build_routes

if TYPE_CHECKING:
    from config.route_plan import RoutePlan
    from config.settings import Settings
    from gateway.assembly.upstreams import Upstreams
    from gateway.metrics import Metrics
    from gateway.proxy.authorizer import Authorizer
    from gateway.proxy.routes import RouteTable
    from gateway.proxy.upstreams import Upstream

LOOK_SECONDS: Final = 0.5
"""The file's state is checked this often, and the file is read once two checks in a row found the same state."""

AGAIN_SECONDS: Final = 5.0
"""Least pause before a refused plan is read again."""
SPARING: Final = 50
"""Least ratio of the pause to the time that the last reading took, so that reading takes 2 % of the time at most."""

_Seen = tuple[int, ...] | None

_AGAIN: Final = "again"

log = structlog.get_logger()


class Routing:
    """Holder of the current route table.

    Attributes:
        table: The current table.
        loaded: POSIX seconds at which it was read.
        whole: The last reload was not refused.
        limits: The limits that its routes name.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        upstreams: Upstreams,
        hosted: Upstream,
        limits: Limiting | None = None,
    ) -> None:
        """Read the plan, and build the first table; without `limits`, those of one process alone.

        Raises:
            RoutesRefused: the route file cannot be used.
        """
        self._settings = settings
        self._metrics = metrics
        self._upstreams = upstreams
        self._hosted = hosted
        self.limits = Limiting(settings) if limits is None else limits
        self._reading = asyncio.Lock()
        self._authorizer: Authorizer | None = None
        self._seen, self._digest = self._look(), self._content()
        self._latest = self._seen
        self._problems: list[str] = []
        self._again_at = 0.0
        self.table = self._build(read_plan(settings))
        self.loaded = time.time()
        self.whole = True
        metrics.read_gauge(
            "gateway_routes_loaded_timestamp_seconds",
            "When the routes in force were read.",
            lambda: self.loaded,
        )
        metrics.read_gauge(
            "gateway_routes_reload_ok",
            "1: the last reading of the routes was good; 0: refused.",
            lambda: self.whole,
        )
        metrics.read_gauge("gateway_routes", "Routes in force.", lambda: self.table.size)

    def serve(self, authorizer: Authorizer) -> None:
        """Name the authorizer that gets every further table."""
        self._authorizer = authorizer

    async def look(self) -> None:
        """Reload if the file has changed, or was refused and it is time to try again."""
        before, self._latest = self._latest, self._look()
        if self._latest != before:
            return  # being written just now: half a file may be a valid one
        if not self.whole and time.monotonic() >= self._again_at:
            await self.reload(_AGAIN)
            return
        if self._latest == self._seen:
            return
        digest = await asyncio.to_thread(self._content)
        if digest != self._digest:
            await self.reload("change")
        else:
            self._seen = self._latest

    async def reload(self, because: str) -> bool:
        """Read the plan again, and swap the table; return whether the plan was good."""
        async with self._reading:
            begun = time.monotonic()
            self._seen = self._look()
            self._digest = await asyncio.to_thread(self._content)
            try:
                plan = await asyncio.to_thread(read_plan, self._settings)
                table = self._build(plan)
            except RoutesRefused as error:
                self._refused(because, error.problems, begun)
                return False
            except Exception as error:  # noqa: BLE001 -- _refused() logs it
                self._refused(because, [f"{type(error).__name__}: {error}"], begun, error)
                return False
            self.table = table
            if self._authorizer is not None:
                self._authorizer.routes = table
            self.loaded, self.whole = time.time(), True
            self._metrics.route_reloads.labels("ok").inc()
            log.info(
                "routes_loaded", because=because, routes=table.size, upstreams=sorted(self._upstreams.now)
            )
            return True

    def _refused(
        self, because: str, problems: list[str], begun: float, error: Exception | None = None
    ) -> None:
        now = time.monotonic()
        self._again_at = now + max(AGAIN_SECONDS, SPARING * (now - begun))
        if because == _AGAIN and problems == self._problems:
            return
        self.whole, self._problems = False, problems
        self._metrics.route_reloads.labels("refused").inc()
        for problem in problems:
            log.error(
                "routes_refused",
                because=because,
                problem=problem,
                kept="the routes that were in force",
                exc_info=error,
            )

    def _build(self, plan: RoutePlan | None) -> RouteTable:
        planned = self._upstreams.planned(plan)
        named = {name: upstream for name, (_, upstream) in planned.items()}
        limits = self.limits.planned(plan)
        table = build_routes(self._settings, self._metrics, named, self._hosted, plan, limits)
        self._upstreams.settle(planned)
        limits.settle()
        for warning in [] if plan is None else plan_warnings(plan, self._settings):
            log.warning("routes_doubtful", warning=warning)
        return table

    def _look(self) -> _Seen:
        """Return the file's state, which differs after every change, without reading the file."""
        if self._settings.routes is None:
            return None
        try:
            state = self._settings.routes.stat()
        except OSError:
            return ()
        return state.st_dev, state.st_ino, state.st_mtime_ns, state.st_ctime_ns, state.st_size

    def _content(self) -> bytes | None:
        if self._settings.routes is None:
            return None
        try:
            return hashlib.sha256(read_file(self._settings.routes)).digest()
        except OSError:
            return None
