"""The admin listener: probes and metrics, on an address of its own.

Laws:

- Nothing here is reachable on the public listener, and nothing here tells a secret.
- ``/status`` tells as JSON what the identity cache, its listener, the store and the queues are doing.
- ``/explain`` tells what would become of a request, and sends nothing; it is no more open than the rest of this.
- ``/livez`` says the process turns; ``/readyz`` that it can do its job: database reachable, migrations applied,
  listening. A database that is away makes it unready, never dead: a restart would not bring the database back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from authcore.errors import AuthError, StoreUnavailable
from gateway.faults import GatewayFault, UnsupportedMediaType, describe
from gateway.metrics import CONTENT_TYPE, page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from typing import Protocol

    from authcore.figures import Figure
    from gateway.metrics import Metrics

    class Readiness(Protocol):
        """What readiness asks of the store."""

        async def ping(self) -> None:
            """Ask for a sign of life."""

        async def pending_migrations(self) -> Sequence[str]:
            """Return the names of migrations that are not applied."""

    class Figures(Protocol):
        """What keeps numbers about identity."""

        @property
        def staleness(self) -> Mapping[str, object]:
            """What bounds how long a revocation may go unnoticed."""

        def figures(self) -> Mapping[str, Iterable[Figure]]:
            """Return the numbers, by part."""


class Admin:
    """The handlers of the admin listener."""

    def __init__(
        self,
        metrics: Metrics,
        store: Readiness,
        listening: Callable[[], bool],
        identity: Figures,
        explain: Callable[[bytes], Awaitable[dict[str, object]]],
    ) -> None:
        """`listening` tells whether the public listener accepts connections, and will go on to."""
        self._explain = explain
        self._metrics = metrics
        self._store = store
        self._listening = listening
        self._identity = identity

    def application(self) -> web.Application:
        """Return the application."""
        application = web.Application()
        application.router.add_get("/livez", self.livez)
        application.router.add_get("/readyz", self.readyz)
        application.router.add_get("/metrics", self.metrics)
        application.router.add_get("/status", self.status)
        application.router.add_post("/explain", self.explain)
        return application

    async def livez(self, _request: web.Request) -> web.Response:
        """Answer: the event loop turns."""
        return web.Response(text="ok\n")

    async def readyz(self, _request: web.Request) -> web.Response:
        """Answer whether requests should be sent here, and if not, why."""
        checks = {"listening": "ok" if self._listening() else "draining"}
        try:
            await self._store.ping()
            pending = await self._store.pending_migrations()
        except StoreUnavailable:
            checks["database"] = "unreachable"
            checks["migrations"] = "unknown"
        else:
            checks["database"] = "ok"
            checks["migrations"] = f"pending: {', '.join(pending)}; run migrate" if pending else "ok"
        ready = all(state == "ok" for state in checks.values())
        return web.Response(
            status=200 if ready else 503,
            body=orjson.dumps(
                {"ready": ready, "checks": checks, "revocation": dict(self._identity.staleness)}
            ),
            content_type="application/json",
        )

    async def status(self, _request: web.Request) -> web.Response:
        """Answer with every number about identity, by part; how revocations are noticed; whether we accept."""
        parts = {
            part: {figure.name: figure.read() for figure in figures}
            for part, figures in self._identity.figures().items()
        }
        told = {"listening": self._listening(), "revocation": dict(self._identity.staleness), **parts}
        return web.Response(
            body=orjson.dumps(told, option=orjson.OPT_INDENT_2), content_type="application/json"
        )

    async def explain(self, request: web.Request) -> web.Response:
        """Answer what would become of a request, and why; for operators, as the rest of this listener."""
        if (
            request.content_type != "application/json"
        ):  # which no page can send from elsewhere without being asked
            fault = describe(UnsupportedMediaType("Send a JSON document, as application/json"))
            return web.Response(status=fault.status, body=fault.body(), content_type="application/json")
        try:
            told = await self._explain(await request.read())
        except (AuthError, GatewayFault) as error:
            fault = describe(error)
            return web.Response(status=fault.status, body=fault.body(), content_type="application/json")
        return web.Response(
            body=orjson.dumps(told, option=orjson.OPT_INDENT_2), content_type="application/json"
        )

    async def metrics(self, _request: web.Request) -> web.Response:
        """Answer with every metric, in Prometheus' text format."""
        return web.Response(body=page(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE})
