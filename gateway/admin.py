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
from aiohttp import web

from authcore.errors import AuthError
from gateway.faults import GatewayFault, UnsupportedMediaType, describe
from gateway.metrics import CONTENT_TYPE
from gateway.metrics import page as metrics_page
from gateway.status.page import HEADERS, render, wants_page
from gateway.status.report import explained

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Protocol

    from gateway.admin_access import Access
    from gateway.metrics import Metrics
    from gateway.status.readiness import Readiness
    from gateway.status.report import Report, Snapshot

    class Staleness(Protocol):
        """What knows how changes are noticed."""

        @property
        def staleness(self) -> Mapping[str, object]:
            """What bounds how long a revocation may go unnoticed."""


class AdminListener:
    """The handlers of the admin listener."""

    def __init__(  # noqa: PLR0913, PLR0917 -- one source for each page
        self,
        metrics: Metrics,
        readiness: Readiness,
        identity: Staleness,
        report: Report,
        explain: Callable[[bytes], Awaitable[dict[str, object]]],
        besides: Callable[[], Mapping[str, object]] = dict,
        runbook: str | None = None,
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

    def application(self, access: Access | None = None) -> web.Application:
        """Return the application; it answers what `access` lets pass; None, on a worker's socket, is all."""
        application = web.Application(middlewares=() if access is None else (access.middleware(),))
        application.router.add_get("/livez", self.livez)
        application.router.add_get("/readyz", self.readyz)
        application.router.add_get("/metrics", self.metrics)
        application.router.add_get("/status", self.status)
        application.router.add_post("/explain", self.explain)
        application.router.add_get("/status.json", self.status_json)
        return application

    async def livez(self, _request: web.Request) -> web.Response:
        """Answer: the event loop turns."""
        return web.Response(text="ok\n")

    async def readyz(self, _request: web.Request) -> web.Response:
        """Answer whether requests should be sent here, and if not, why."""
        ready, checks = await self._readiness.look()
        return web.Response(
            status=200 if ready else 503,
            body=orjson.dumps(
                {
                    "ready": ready,
                    "checks": checks,
                    "revocation": dict(self._identity.staleness),
                    **self._besides(),
                }
            ),
            content_type="application/json",
        )

    async def status(self, request: web.Request) -> web.Response:
        """Answer with the page for people who ask for one, with JSON otherwise."""
        if not wants_page(request.headers.get("Accept", "")):
            return await self.status_json(request)
        page = render(self._snapshot(), runbook=self._runbook)
        return web.Response(text=page, content_type="text/html", headers=HEADERS)

    async def status_json(self, _request: web.Request) -> web.Response:
        """Answer with what the gateway does at the moment, as JSON."""
        body = orjson.dumps(self._snapshot(), option=orjson.OPT_INDENT_2)
        return web.Response(body=body, content_type="application/json")

    def _snapshot(self) -> Snapshot:
        """Return the report, with what readiness last found and the causes."""
        readiness = {"ready": self._readiness.ready, "checks": self._readiness.checks}
        return explained({**self._report.tell(), "readiness": readiness})

    async def explain(self, request: web.Request) -> web.Response:
        """Answer what would become of a request, and why; for operators, as the rest of this listener."""
        if (
            request.content_type != "application/json"
        ):  # which no page can send from elsewhere without being asked
            fault = describe(UnsupportedMediaType("Send a JSON document, as application/json"))
            return web.Response(status=fault.status, body=fault.body(), content_type="application/json")
        try:
            explanation = await self._explain(await request.read())
        except (AuthError, GatewayFault) as error:
            fault = describe(error)
            return web.Response(status=fault.status, body=fault.body(), content_type="application/json")
        return web.Response(
            body=orjson.dumps(explanation, option=orjson.OPT_INDENT_2), content_type="application/json"
        )

    async def metrics(self, _request: web.Request) -> web.Response:
        """Answer with every metric, in Prometheus' text format."""
        return web.Response(body=metrics_page(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE})
