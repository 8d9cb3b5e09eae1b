"""The application itself: envelope, faults, and reading a body."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

from authcore.errors import AuthError, PermissionDenied
from authcore.principal import FOUNDING
from authcore.store.clock import DatabaseClock
from authcore.store.session_rows import Visit
from gateway.endpoints.describing import FORM, JSON, OTHER_MEDIA
from gateway.endpoints.moments import WHOLE_MESSAGE
from gateway.faults import (
    INTERNAL,
    BadRequest,
    ContentTooLarge,
    Fault,
    GatewayFault,
    UnsupportedMediaType,
    describe,
)
from gateway.logs.verdicts import EXCHANGE_HEADER, detail_of

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from gateway.logs.verdicts import Verdicts
    from gateway.metrics import Metrics

Body = TypeVar("Body", bound=BaseModel)

_CLOCK: Final = web.AppKey("gateway_clock", DatabaseClock)

log = structlog.get_logger()

_MOST_FIELDS: Final = 64
_EXCHANGE: Final = EXCHANGE_HEADER.decode("ascii")


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


def visit_of(request: web.Request) -> Visit:
    """Return where a request comes from; the address as the pipeline judged it, whatever clients say of themselves."""
    return Visit.of(request.headers.get("User-Agent", ""), request.headers["X-Real-IP"])


def session_of(request: web.Request) -> UUID | None:
    """Return the session of the caller's token; None when it is of none. The pipeline tells, no client can."""
    header = request.headers.get("X-Auth-Session-ID")
    return None if header is None else UUID(header)


def made_with(request: web.Request) -> UUID | None:
    """Return the API key that the caller came with; None for any other credential."""
    header = request.headers.get("X-Auth-Own-Key-ID")
    return None if header is None else UUID(header)


def refuse_to_found(request: web.Request) -> None:
    """Refuse a credential that founds nothing which outlives it (docs/founding.md).

    Raises:
        PermissionDenied: it is an API key or a foreign issuer's token.
    """
    credential = request.headers.get("X-Auth-Credential")
    if credential not in FOUNDING:
        raise PermissionDenied(f"Not available with this credential ({credential})")


def end_of(request: web.Request, leeway_seconds: float) -> float:
    """Return the ``exp`` of the caller's token, POSIX seconds; the pipeline adds the leeway to it."""
    return float(request.headers.get("X-Auth-Expires-At", math.inf)) - leeway_seconds


async def now_of(request: web.Request) -> float:
    """Return the time, POSIX seconds by the clock that all gateways share: the database's."""
    return await request.app[_CLOCK].sure()


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


def make_application(
    metrics: Metrics, verdicts: Verdicts, clock: DatabaseClock, *, body_bytes: int
) -> web.Application:
    """Return an empty application with one clock.

    It turns every fault into its envelope, counts it, and leaves it in `verdicts` for the request's record.
    """

    def refuse(request: web.Request, fault: Fault, detail: str) -> web.Response:
        verdicts.leave(request.headers[_EXCHANGE], fault.reason, detail)
        return refused(fault)

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

    async def unsigned(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers.popall(
            "Server", None
        )  # which library answers, and of which version, is nobody's business

    application = web.Application(middlewares=[envelope], client_max_size=body_bytes)
    application[_CLOCK] = clock
    application.on_response_prepare.append(unsigned)
    return application
