"""Hosted application (aiohttp): it routes requests to the declared endpoints, and answers their faults.

It is imported and made when the first request for it is dialled (``gateway/assembly/hosted.py``). What routes and
documents need of the endpoints does not import aiohttp.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import web

from authcore.errors import AuthError
from gateway.endpoints.bodies import refused
from gateway.endpoints.caller import exchange_of
from gateway.endpoints.endpoint import Endpoint
from gateway.endpoints.recording import record_request
from gateway.faults import INTERNAL, Fault, GatewayFault, describe
from gateway.logs.verdicts import detail_of
from gateway.security_fields import SECURITY_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiohttp.typedefs import Handler

    from gateway.endpoints.services import Services
    from gateway.logs.verdicts import Verdicts
    from gateway.metrics import Metrics

log = structlog.get_logger()

_ENDPOINT: Final = web.RequestKey("endpoint", Endpoint)


def make_application(  # noqa: PLR0913 -- its collaborators by position, its settings by name
    metrics: Metrics,
    verdicts: Verdicts,
    services: Services,
    endpoints: Iterable[Endpoint[Any]],
    *,
    header_names: Mapping[str, str],
    body_bytes: int,
) -> web.Application:
    """Return the application of the endpoints.

    It turns every fault into its envelope, counts it, and leaves it in `verdicts` for the request's record.

    Args:
        metrics: Counts the verdicts of endpoints.
        verdicts: Mailbox to the access records.
        services: What every handler is given.
        endpoints: The endpoints that are hosted.
        header_names: The configured name of each identity header, by key.
        body_bytes: Most bytes of a request body.
    """

    def refuse(request: web.Request, fault: Fault, detail: str) -> web.Response:
        verdicts.leave(exchange_of(request), fault.reason, detail)
        endpoint: Endpoint[Any] | None = request.get(_ENDPOINT)
        if endpoint is None or endpoint.refused is None:
            return refused(fault)
        return endpoint.refused(services, fault)

    @web.middleware
    async def envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        endpoint = "none" if resource is None else resource.canonical
        try:
            response = await handler(request)
        except (AuthError, GatewayFault) as error:
            metrics.sign_ins.labels(endpoint, error.reason).inc()
            return refuse(request, describe(error), detail_of(error))
        except web.HTTPException as error:
            return refuse(request, Fault(error.status, error.reason, "not_hosted"), error.reason)
        except ConnectionError:  # the client left before its body had ended: nobody is there to be answered
            return refused(Fault(400, "Incomplete request body", "client_gone"))
        except Exception as error:
            log.exception("endpoint_failed", endpoint=endpoint)
            metrics.sign_ins.labels(endpoint, "internal").inc()
            return refuse(request, INTERNAL, type(error).__name__)
        metrics.sign_ins.labels(endpoint, "ok").inc()
        return response

    application = web.Application(middlewares=[envelope], client_max_size=body_bytes)
    for endpoint in endpoints:
        for method in endpoint.methods:
            application.router.add_route(method, endpoint.path, _bound(endpoint, services, header_names))
    application.on_response_prepare.append(services.cookies.write)
    application.on_response_prepare.append(_finish)
    return application


def _bound(endpoint: Endpoint[Any], services: Services, header_names: Mapping[str, str]) -> Handler:
    """Return the handler of an endpoint as aiohttp calls it: the sender is parsed here, and nowhere else."""
    parse, handler = endpoint.access.parse, endpoint.handler

    async def handle(request: web.Request) -> web.StreamResponse:
        request[_ENDPOINT] = endpoint
        sender = parse(request, header_names)
        try:
            response = await handler(services, request, sender)
        except (Exception, asyncio.CancelledError) as error:
            record_request(services.trail, request, endpoint, sender, error)
            raise
        record_request(services.trail, request, endpoint, sender, None)
        return response

    return handle


async def _finish(_request: web.Request, response: web.StreamResponse) -> None:
    headers = response.headers
    headers.popall("Server", None)  # which library answers, and of which version, is nobody's business
    for name, value in SECURITY_FIELDS:
        headers.setdefault(name, value)
