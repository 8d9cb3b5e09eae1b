"""Bodies of hosted endpoints: requests are read into models, and answers are written as the envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

import orjson
from pydantic import BaseModel, ValidationError

from authcore.errors import PermissionDenied
from authcore.principal import FOUNDING
from gateway.endpoints.describing import FORM, JSON, OTHER_MEDIA
from gateway.endpoints.moments import WHOLE_MESSAGE
from gateway.faults import BadRequest, ContentTooLarge, Fault, UnsupportedMediaType

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.endpoints.caller import Caller

Body = TypeVar("Body", bound=BaseModel)

_MOST_FIELDS: Final = 64


def success(content: object) -> web.Response:
    """Return the success envelope around `content`; never cached, for it may hold tokens (RFC 6749 section 5.1)."""
    from aiohttp import web

    if isinstance(content, BaseModel):
        content = content.model_dump(exclude_unset=True)
    return web.Response(
        # asyncpg has a UUID of its own. UTC is Z, as Go writes it.
        body=orjson.dumps({"status": "success", "data": content}, default=str, option=orjson.OPT_UTC_Z),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def refused(fault: Fault) -> web.Response:
    """Return the answer to a fault."""
    from aiohttp import web

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
    from aiohttp import web

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
