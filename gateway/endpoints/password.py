"""Endpoints ``/api/auth/password`` and Whatomate's ``/api/me/password``: they change the caller's own password.

They speak HTTP; authcore has the semantics.

Law: the current password is needed, whatever token the caller has, and an API key is not accepted: a finder of a key
must not be able to lock its owner out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, Field

from authcore.errors import (
    CurrentPasswordIncorrect,
    CurrentPasswordWrong,
    Overloaded,
    PasswordMissing,
    PasswordUnacceptable,
    Throttled,
)
from authcore.trail import Event
from gateway.endpoints.auth_forms import NEW_PASSWORD_RULE, NEW_PASSWORD_SCHEMA, PASSWORD_SCHEMA
from gateway.endpoints.bodies import read_body, success
from gateway.endpoints.describing import MessageAnswer
from gateway.endpoints.endpoint import TOKEN, Endpoint

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.endpoints.caller import Caller
    from gateway.endpoints.services import Services


class PasswordBody(BaseModel):
    """Body of a request that changes the password."""

    current_password: Annotated[str, Field(min_length=1, json_schema_extra=PASSWORD_SCHEMA)]
    new_password: Annotated[
        str,
        Field(
            min_length=1,
            description=NEW_PASSWORD_RULE,
            json_schema_extra={**NEW_PASSWORD_SCHEMA, "examples": ["staple battery horse"]},
        ),
    ]


async def change(services: Services, request: web.Request, caller: Caller) -> web.Response:
    """Replace the caller's password, and end all of their sessions except this one."""
    body, now = await read_body(request, PasswordBody), await services.now()
    await services.accounts.change_password(
        user_id=caller.user_id,
        current=body.current_password,
        new=body.new_password,
        now=now,
        session_id=caller.session_id,
        founded_at=services.founding(caller, now),
        visit=caller.visit,
    )
    return success(MessageAnswer(message="Password changed successfully"))


async def change_as_whatomate(services: Services, request: web.Request, caller: Caller) -> web.Response:
    """Do the same; a wrong current password is 400, as Whatomate's client expects."""
    try:
        return await change(services, request, caller)
    except CurrentPasswordWrong as error:
        raise CurrentPasswordIncorrect from error


_OTHER_REFUSALS: Final = (PasswordUnacceptable, PasswordMissing, Throttled, Overloaded)

CHANGE: Final = Endpoint(
    method="PUT",
    path="/api/auth/password",
    tag="Signing in",
    summary="Change one's own password",
    detail="Every other session of the caller ends.",
    access=TOKEN,
    handler=change,
    event=Event.CHANGE_PASSWORD,
    body=PasswordBody,
    answer=MessageAnswer,
    refuses=(CurrentPasswordWrong, *_OTHER_REFUSALS),
)
OF_WHATOMATE: Final = replace(
    CHANGE,
    path="/api/me/password",
    summary="Change one's own password, as Whatomate's client does",
    handler=change_as_whatomate,
    refuses=(CurrentPasswordIncorrect, *_OTHER_REFUSALS),
    when=lambda settings: settings.password.hosted,
)
"""The path at which the page of Whatomate's client changes it."""
