"""Hosted application (aiohttp): it routes requests to the declared endpoints, reads bodies and writes the envelope."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

from authcore.errors import AuthError, PermissionDenied
from authcore.principal import FOUNDING
from gateway.endpoints.caller import exchange_of
from gateway.endpoints.describing import FORM, JSON, OTHER_MEDIA
from gateway.endpoints.endpoint import Endpoint
from gateway.endpoints.moments import WHOLE_MESSAGE
from gateway.endpoints.recording import record_request
from gateway.faults import (
    INTERNAL,
    BadRequest,
    ContentTooLarge,
    Fault,
    GatewayFault,
    UnsupportedMediaType,
    describe,
)
from gateway.logs.verdicts import detail_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiohttp.typedefs import Handler

    from gateway.endpoints.caller import Caller
    from gateway.endpoints.services import Services
    from gateway.logs.verdicts import Verdicts
    from gateway.metrics import Metrics

Body = TypeVar("Body", bound=BaseModel)

log = structlog.get_logger()

_MOST_FIELDS: Final = 64
_ENDPOINT: Final = web.RequestKey("endpoint", Endpoint)


def success(content: object) -> web.Response:
    """Return the success envelope around `content`; never cached, for it may hold tokens (RFC 6749 section 5.1)."""
    if isinstance(content, BaseModel):
        content = content.model_dump(exclude_unset=True)
    return web.Response(
        body=orjson.dumps(
            {"status": "success", "data": content}, default=str
        ),  # asyncpg has a UUID of its own
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def refused(fault: Fault) -> web.Response:
    """Return the answer to a fault."""
    return web.Response(
        status=fault.status,
        body=fault.body(),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **dict(fault.headers)},
    )


def refuse_to_found(caller: Caller) -> None:
    """Refuse a credential that founds nothing which outlives it (docs/founding.md).

    Raises:
        PermissionDenied: it is an API key or a foreign issuer's token.
    """
    if caller.credential not in FOUNDING:
        raise PermissionDenied(f"Not available with this credential ({caller.credential})")


def uuid_in_path(request: web.Request) -> UUID | None:
    """Return the ``{id}`` of a request's path; None if it is no UUID."""
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        return None


async def read_body(request: web.Request, model: type[Body]) -> Body:
    """Read a JSON object, or a form, into `model`; fields it does not know are ignored.

    Raises:
        UnsupportedMediaType: the body says it is something else than these two, or compressed.
        ContentTooLarge: it is larger than the application takes.
        BadRequest: it is no JSON object, or a field is missing or of the wrong type (the message names it).
    """
    media = request.content_type if "Content-Type" in request.headers else JSON
    if media not in {JSON, FORM}:
        raise UnsupportedMediaType(OTHER_MEDIA)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Content-Encoding is not supported")
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise ContentTooLarge("Request body too large") from error
    try:
        parsed = _read_form(raw) if media == FORM else orjson.loads(raw)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise BadRequest("Invalid request body")
    try:
        return model.model_validate(parsed) if media == FORM else model.model_validate_json(raw)
    except ValidationError as error:
        raise BadRequest(_first_problem(error, model)) from None


def read_query(request: web.Request, model: type[Body]) -> Body:
    """Read the parameters of a query into `model`; of two of one name the first, and others than its own are ignored.

    Raises:
        BadRequest: a parameter is not valid (the message names it).
    """
    try:
        return model.model_validate(
            {name: request.query[name] for name in model.model_fields if name in request.query}
        )
    except ValidationError as error:
        raise BadRequest(_first_problem(error, model)) from None


def _read_form(raw: bytes) -> dict[str, str]:
    """Return the fields of a form; of two of one name the first, as Whatomate's server does.

    Raises:
        ValueError: it is not UTF-8, or has more fields than any form here.
    """
    fields = parse_qsl(
        raw.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
    )
    return dict(reversed(fields))


def _first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Say which field is wrong and how; never what it held."""
    problem = error.errors(include_url=False, include_context=True, include_input=False)[0]
    if problem["type"] == WHOLE_MESSAGE:
        return problem["msg"]
    name = ".".join(str(part) for part in problem["loc"]) or "body"
    field = model.model_fields.get(name)
    if field is not None and field.title:  # what Whatomate calls it
        name = field.title
    context = problem.get("ctx", {})
    complaints = {
        "missing": "is required",
        "string_type": "must be a string",
        "string_too_short": "is required",
        "string_too_long": f"must be at most {context.get('max_length')} characters",
        "uuid_parsing": "must be a UUID",
        "uuid_type": "must be a UUID",
        "value_error": str(context.get("error")),
    }
    return f"{name} {complaints.get(problem['type'], 'is not valid')}"


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
    application.on_response_prepare.append(_unsigned)
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


async def _unsigned(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall(
        "Server", None
    )  # which library answers, and of which version, is nobody's business
