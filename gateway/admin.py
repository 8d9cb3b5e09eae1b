"""Admin listener: probes, metrics, status and explanations, on an address of its own.

Laws:

- Nothing here is reachable on the public listener, and nothing here tells a secret.
- The client's right to ask is checked before the path is read (:mod:`gateway.admin_access`).
- ``/status`` reports what the gateway does now: a page to people, JSON to programs and as ``/status.json``.
- ``/explain`` returns the verdict on a described request, and sends nothing; it is no more open than the rest.
- ``/livez`` is 200 while the event loop runs; ``/readyz`` while requests should be sent here
  (:mod:`gateway.status.readiness`). A database that is away may make it unready, never dead: a restart would not
  bring the database back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from gateway.admin_server import TEXT, Page
from gateway.faults import UnsupportedMediaType
from gateway.metrics import CONTENT_TYPE
from gateway.metrics import page as metrics_page
from gateway.status.page import HEADERS, render, wants_page
from gateway.status.report import explained

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Protocol

    from gateway.admin_server import Asked
    from gateway.metrics import Metrics
    from gateway.status.readiness import Readiness
    from gateway.status.report import Report, Snapshot

    class Staleness(Protocol):
        """Protocol of the identity service: it reports how changes of the database reach this process."""

        @property
        def staleness(self) -> Mapping[str, object]:
            """The bound on how long a revocation may go unnoticed, with the state of the change listener."""


class AdminListener:
    """The handlers of the admin listener."""

    def __init__(  # noqa: PLR0913, PLR0917 -- one source for each page
        self,
        metrics: Metrics,
        readiness: Readiness,
        identity: Staleness,
        report: Report,
        explain: Callable[[bytes], Awaitable[dict[str, object]]],
        besides: Callable[[], Mapping[str, object]],
        runbook: str | None,
    ) -> None:
        """Hold the sources of the pages.

        `explain` answers what would become of a request; `besides` is what readiness says beyond its checks; causes on
        the status page lead to `runbook`, an address.
        """
        self._runbook = runbook
        self._explain = explain
        self._besides = besides
        self._metrics = metrics
        self._readiness = readiness
        self._identity = identity
        self._report = report

    def pages(self) -> Mapping[tuple[str, str], Callable[[Asked], Awaitable[Page]]]:
        """Return the pages by method and path."""
        return {
            ("GET", "/livez"): self.livez,
            ("GET", "/readyz"): self.readyz,
            ("GET", "/metrics"): self.metrics,
            ("GET", "/status"): self.status,
            ("POST", "/explain"): self.explain,
            ("GET", "/status.json"): self.status_json,
        }

    async def livez(self, _asked: Asked) -> Page:
        """Answer: the event loop turns."""
        return Page(b"ok\n", TEXT)

    async def readyz(self, _asked: Asked) -> Page:
        """Answer whether requests should be sent here, and if not, why."""
        ready, checks = await self._readiness.look()
        document = {
            "ready": ready,
            "checks": checks,
            "revocation": dict(self._identity.staleness),
            **self._besides(),
        }
        return Page(orjson.dumps(document), status=200 if ready else 503)

    async def status(self, asked: Asked) -> Page:
        """Answer with the page for people who ask for one, with JSON otherwise."""
        if not wants_page(asked.field(b"accept")):
            return await self.status_json(asked)
        page = render(self._snapshot(), runbook=self._runbook)
        return Page(page.encode(), "text/html; charset=utf-8", headers=HEADERS)

    async def status_json(self, _asked: Asked) -> Page:
        """Answer with what the gateway does at the moment, as JSON."""
        return Page(orjson.dumps(self._snapshot(), option=orjson.OPT_INDENT_2))

    def _snapshot(self) -> Snapshot:
        """Return the report, with what readiness last found and the causes."""
        readiness = {"ready": self._readiness.ready, "checks": self._readiness.checks}
        return explained({**self._report.tell(), "readiness": readiness})

    async def explain(self, asked: Asked) -> Page:
        """Answer what would become of a request, and why; for operators, as the rest of this listener.

        Raises:
            UnsupportedMediaType: the body is not declared as JSON.
            AuthError, GatewayFault: the document cannot be explained.
        """
        if not asked.is_json:
            raise UnsupportedMediaType("Send a JSON document, as application/json")
        return Page(orjson.dumps(await self._explain(asked.body), option=orjson.OPT_INDENT_2))

    async def metrics(self, _asked: Asked) -> Page:
        """Answer with every metric, in Prometheus' text format."""
        return Page(metrics_page(self._metrics.registry), CONTENT_TYPE)
