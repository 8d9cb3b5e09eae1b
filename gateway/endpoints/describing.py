"""OpenAPI 3.1 generator: it describes endpoints, from their declarations, the models that validate and the error table.

``tests/flow/test_openapi.py`` fails while a hosted route is not described, or an answer is not as described.

Laws:

- Nothing is described twice: fields and bounds come from the models, statuses and messages from the errors.
- The document is made once, and is the same for all callers.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from authcore import errors
from authcore.principal import AuthMethod
from gateway.endpoints.endpoint import Endpoint
from gateway.endpoints.examples import body_example, curl_line
from gateway.faults import (
    ORGANIZATION_MALFORMED,
    BadRequest,
    ContentTooLarge,
    CsrfRefused,
    UnsupportedMediaType,
    describe,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.endpoints.endpoint import Operation
    from gateway.faults import Fault

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
OTHER_MEDIA: Final = f"Content-Type must be {JSON} or {FORM}"

_REFS: Final = "#/components/schemas/{model}"
_OF_ACCESS: Final = (
    errors.CredentialMissing(),
    errors.CredentialMalformed(),
    errors.CredentialAmbiguous(),
    errors.TokenRejected(),
    errors.UserDisabled(),
)
_OF_BODIES: Final = (BadRequest("Invalid request body"), UnsupportedMediaType(OTHER_MEDIA))
_OF_LARGE_BODIES: Final = (ContentTooLarge("Request body too large"),)
_OF_ALL: Final = (errors.StoreUnavailable(),)
_OF_PLACES: Final = (errors.TooManyAtOnce(), errors.Overloaded())
_HEADERS: Final[Mapping[int, str]] = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}


class Answer(BaseModel):
    """Base of answers: models that are made from the attributes of rows."""

    model_config = ConfigDict(from_attributes=True)


class MessageAnswer(Answer):
    """Confirmation in words."""

    message: str


class RefusalAnswer(Answer):
    """Body of every refusal: what was wrong, and what to do."""

    status: Literal["error"]
    message: str
    nothing: None = Field(serialization_alias="data")


_OTHERWISE: Final[Mapping[str, object]] = {
    "description": "Any other refusal: by a limit, a deadline, or for want of an answer",
    "content": {"application/json": {"schema": {"$ref": _REFS.format(model=RefusalAnswer.__name__)}}},
}


def make_document(
    operations: Sequence[Operation], *, version: str, cookies: Mapping[str, str], password_length: int
) -> dict[str, Any]:
    """Return the OpenAPI document of `operations`.

    Args:
        operations: What is described, in this order.
        version: The gateway's version.
        cookies: The name of the access token's cookie and of the header that goes with it; empty if cookies are off.
        password_length: Fewest characters of a new password.
    """
    bodies = {one.body for one in operations if one.body}
    answers = {one.answer for one in operations if one.answer} | {RefusalAnswer}
    names = [model.__name__ for model in bodies | answers]
    if len(set(names)) < len(names):
        raise ValueError("two models of one name: each is described under its own")
    _, defined = models_json_schema(
        sorted(
            [(model, "validation") for model in bodies] + [(model, "serialization") for model in answers],
            key=lambda pair: pair[0].__name__,
        ),
        ref_template=_REFS,
    )
    schemas: dict[str, Any] = defined["$defs"]
    for schema in schemas.values():
        for field in schema.get("properties", {}).values():
            if field.get("format") == "password" and "maxLength" in field:  # a new one
                field["minLength"] = password_length
    paths: dict[str, Any] = {}
    for one in operations:
        described = _operation(one, schemas, with_cookies=bool(cookies))
        paths.setdefault(one.path, {})[one.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "whatomate-gateway",
            "version": version,
            "description": "What the gateway answers itself. Everything else is forwarded. Success is "
            '`{"status": "success", "data": …}`, a refusal `{"status": "error", "message": …, "data": null}`; '
            "every answer carries `X-Request-ID`. Get an access token from `POST /api/auth/login`, and send it as "
            "`Authorization: Bearer …`; or send an API key as `X-API-Key: …`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in operations)],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _security_schemes(cookies)},
    }


def _security_schemes(cookies: Mapping[str, str]) -> dict[str, Any]:
    schemes: dict[str, Any] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token: `data.access_token` of `POST /api/auth/login`, for `data.expires_in` "
            "seconds. Then `POST /api/auth/refresh` gives the next.",
        },
        "apiKey": {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "An API key. It is shown once, when it is created.",
        },
    }
    if cookies:
        schemes["cookie"] = {
            "type": "apiKey",
            "in": "cookie",
            "name": cookies["access"],
            "description": f"A browser's session. Unsafe methods need the header {cookies['header']} too.",
        }
    return schemes


def _operation(one: Operation, schemas: Mapping[str, Any], *, with_cookies: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.name,
        "tags": [one.tag],
        "summary": one.summary,
        "security": _security(one, with_cookies=with_cookies),
        "responses": {
            str(one.status): _success(one),
            **_refusals(one, with_cookies=with_cookies),
            "default": _OTHERWISE,
        },
    }
    detail = [one.detail] if one.detail else []
    if one.access.permission:
        detail.append(f"Needs the permission `{one.access.permission}`.")
        described["x-permission"] = one.access.permission
    if detail:
        described["description"] = " ".join(detail)
    parameters = list(_parameters(one))
    if parameters:
        described["parameters"] = parameters
    body = None
    if one.body is not None:
        body = body_example(schemas[one.body.__name__])
        content = {
            media: {"schema": _reference(one.body), "example": body}
            for media in (JSON, *([FORM] if one.form else []))
        }
        left_out = one.optional_body and (with_cookies or not one.csrf)
        described["requestBody"] = {"required": not left_out, "content": content}
    schemes = [scheme for way in described["security"] for scheme in way]
    sets_cookies = with_cookies and isinstance(one, Endpoint) and one.cookies
    line = curl_line(one.method, one.path, schemes=schemes, body=body, with_cookies=sets_cookies)
    described["x-codeSamples"] = [{"lang": "Shell", "label": "curl", "source": line}]
    return described


def _security(one: Operation, *, with_cookies: bool) -> list[dict[str, list[str]]]:
    takes = one.access.takes
    taken = {
        "token": takes(AuthMethod.JWT),
        "cookie": with_cookies and takes(AuthMethod.COOKIE),
        "apiKey": takes(AuthMethod.API_KEY),
    }
    return [{scheme: []} for scheme, is_taken in taken.items() if is_taken]


def _parameters(one: Operation) -> Iterable[dict[str, Any]]:
    if "{id}" in one.path:
        yield {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
    if one.organization == "any":
        yield {
            "name": "X-Organization-ID",
            "in": "header",
            "description": "Act in another organization that the caller belongs to.",
            "schema": {"type": "string", "format": "uuid"},
        }
    if one.query is not None:
        schema = one.query.model_json_schema(ref_template=_REFS)
        for name, field in schema["properties"].items():
            rest = {key: text for key, text in field.items() if key not in ("title", "description")}
            yield {"name": name, "in": "query", "description": field.get("description", ""), "schema": rest}


def _success(one: Operation) -> dict[str, Any]:
    if one.answer is None:
        schema: dict[str, Any] = {"type": "string"} if one.media.startswith("text/") else {"type": "object"}
    else:
        schema = {
            "type": "object",
            "required": ["status", "data"],
            "properties": {"status": {"const": "success"}, "data": _answer(one, one.answer)},
        }
    described: dict[str, Any] = {"description": one.summary, "content": {one.media: {"schema": schema}}}
    if one.status == HTTPStatus.TEMPORARY_REDIRECT:
        described["headers"] = {"Location": {"schema": {"type": "string"}}}
    return described


def _answer(one: Operation, model: type[BaseModel]) -> dict[str, Any]:
    return {"type": "array", "items": _reference(model)} if one.answers_list else _reference(model)


def _refusals(one: Operation, *, with_cookies: bool) -> dict[str, Any]:
    """Return the refusals by status, with each possible message as an example."""
    is_public = one.access.requirement.public
    met: list[Exception] = [*(kind() for kind in one.refuses), *map(BadRequest, one.complaints)]
    if not is_public:
        met += _refusals_of_access(one)
    if not is_public or one.answer is not None:
        met += _OF_ALL
    if isinstance(one, Endpoint):
        met += _OF_PLACES
    if with_cookies and one.method != "GET" and (not is_public or one.csrf):
        met.append(CsrfRefused("X-CSRF-Token is missing: send the value of the cookie whm_csrf in it"))
    if one.body is not None:
        met += _OF_LARGE_BODIES if one.lenient_body else (*_OF_LARGE_BODIES, *_OF_BODIES)
    by_status: dict[int, list[Fault]] = {}
    for fault in map(describe, met):
        by_status.setdefault(fault.status, []).append(fault)
    return {str(status): _refusal(status, by_status[status]) for status in sorted(by_status)}


def _refusals_of_access(one: Operation) -> list[Exception]:
    """Return the refusals of an operation that needs a credential, by the credential, the organization or the right."""
    permission, takes_keys = one.access.permission, one.access.takes(AuthMethod.API_KEY)
    met: list[Exception] = [*_OF_ACCESS]
    if one.organization == "any":
        met += [errors.NotAMember(), errors.OrganizationUnknown(), BadRequest(ORGANIZATION_MALFORMED)]
    if permission:
        met.append(errors.PermissionDenied(f"Missing permission {permission}"))
    if permission or takes_keys:
        met += [errors.ApiKeyRejected(), errors.ApiKeyBound(), errors.Throttled()]
    if not takes_keys:
        met.append(errors.PermissionDenied("Not available with this credential (api_key)"))
    return met


def _refusal(status: int, faults: Sequence[Fault]) -> dict[str, Any]:
    messages = list(dict.fromkeys(fault.message for fault in faults))
    examples = {
        f"{number}": {
            "summary": message,
            "value": {"status": "error", "message": message, "data": None},
        }
        for number, message in enumerate(messages, 1)
    }
    refusal: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {"application/json": {"schema": _reference(RefusalAnswer), "examples": examples}},
    }
    if status in _HEADERS:
        refusal["headers"] = {_HEADERS[status]: {"schema": {"type": "string"}}}
    return refusal


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFS.format(model=model.__name__)}
