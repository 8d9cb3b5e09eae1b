"""Endpoints ``/api/auth/password`` and Whatomate's ``/api/me/password``: they change the caller's own password.

They speak HTTP; authcore has the semantics.

Law: the current password is needed, whatever token the caller has, and an API key is not accepted: a finder of a key
    must
not be able to lock its owner out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

from pydantic import BaseModel, Field

from authcore.errors import (
    AuthError,
    CurrentPasswordIncorrect,
    CurrentPasswordWrong,
    Overloaded,
    PasswordMissing,
    PasswordUnacceptable,
    Throttled,
)
from gateway.endpoints.application import now_of, read_body, session_of, success, visit_of
from gateway.endpoints.describing import TOKEN, MessageAnswer, Operation

if TYPE_CHECKING:
    from aiohttp import web

    from authcore.accounts.accounts import Accounts

PATH: Final = "/api/auth/password"
OF_WHATOMATE: Final = "/api/me/password"
"""The path at which the page of Whatomate's client changes it."""


class PasswordBody(BaseModel):
    """What changing a password is sent."""

    current_password: Annotated[str, Field(min_length=1)]
    new_password: Annotated[str, Field(min_length=1)]


def _change(path: str, summary: str, wrong: type[AuthError]) -> Operation:
    """Describe the operation at `path`; `wrong` is the refusal of a wrong current password."""
    return Operation(
        method="PUT",
        path=path,
        tag="Signing in",
        summary=summary,
        detail="Every other session of the caller ends.",
        access=TOKEN,
        body=PasswordBody,
        answer=MessageAnswer,
        refuses=(wrong, PasswordUnacceptable, PasswordMissing, Throttled, Overloaded),
    )


OPERATIONS: Final = (_change(PATH, "Change one's own password", CurrentPasswordWrong),)
OPERATIONS_OF_WHATOMATE: Final = (
    _change(OF_WHATOMATE, "Change one's own password, as Whatomate's client does", CurrentPasswordIncorrect),
)


class PasswordEndpoint:
    """Handlers over the account service."""

    def __init__(self, accounts: Accounts, *, user_id_header: str, of_whatomate: bool) -> None:
        """`user_id_header` names the injected header with the caller's id; `of_whatomate` adds Whatomate's path."""
        self._accounts = accounts
        self._of_whatomate = of_whatomate
        self._user_id_header = user_id_header

    def add_to(self, application: web.Application) -> None:
        """Register the handlers under their paths."""
        application.router.add_put(PATH, self.change)
        if self._of_whatomate:
            application.router.add_put(OF_WHATOMATE, self.change_as_whatomate)

    async def change(self, request: web.Request) -> web.Response:
        """Replace the caller's password, and end all of their sessions except this one."""
        body = await read_body(request, PasswordBody)
        await self._accounts.change_password(
            user_id=UUID(request.headers[self._user_id_header]),
            current=body.current_password,
            new=body.new_password,
            now=await now_of(request),
            session_id=session_of(request),
            visit=visit_of(request),
        )
        return success(MessageAnswer(message="Password changed successfully"))

    async def change_as_whatomate(self, request: web.Request) -> web.Response:
        """Do the same; a wrong current password is 400, as Whatomate's client expects."""
        try:
            return await self.change(request)
        except CurrentPasswordWrong as error:
            raise CurrentPasswordIncorrect from error
