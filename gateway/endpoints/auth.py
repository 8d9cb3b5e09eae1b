"""Sign-in endpoints ``/api/auth/register`` and ``/api/auth/login``. They speak HTTP; authcore has the semantics.

Law: the contract of an existing Whatomate client holds to the letter: statuses, messages, and the user object, which is
a superset of every version's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore import errors
from authcore.credentials import PasswordLogin
from gateway.endpoints.application import read_body, success
from gateway.endpoints.auth_forms import LoginBody, RegisterBody, SignedInAnswer, UserAnswer
from gateway.endpoints.endpoint import PUBLIC, Endpoint
from gateway.faults import BadRequest

if TYPE_CHECKING:
    from aiohttp import web

    from authcore.accounts.accounts import SignedIn
    from gateway.endpoints.caller import Visitor
    from gateway.endpoints.services import Services


async def register(services: Services, request: web.Request, visitor: Visitor) -> web.Response:
    """Create an account in an organization, or join it with an existing one."""
    body = await read_body(request, RegisterBody)
    if body.organization_id is None and body.invitation is None:
        raise BadRequest("organization_id is required")
    signed_in = await services.accounts.register(
        email=body.email,
        password=body.password,
        full_name=body.full_name,
        organization_id=body.organization_id,
        now=await services.now(),
        visit=visitor.visit,
        invitation=body.invitation,
    )
    return answer_signed_in(services, request, visitor, signed_in)


async def login(services: Services, request: web.Request, visitor: Visitor) -> web.Response:
    """Sign in by e-mail and password."""
    body = await read_body(request, LoginBody)
    credential = PasswordLogin(body.email, body.password)
    signed_in = await services.accounts.login(credential, await services.now(), visitor.visit)
    return answer_signed_in(services, request, visitor, signed_in)


def answer_signed_in(  # noqa: PLR0913 -- what is answered by position, how by name
    services: Services,
    request: web.Request,
    sender: Visitor,
    signed_in: SignedIn,
    *,
    shows: bool = True,
    renews: bool = True,
) -> web.Response:
    """Return the answer with a user and a pair of tokens; `shows` and `renews` are those of ``CookiePolicy.carry``."""
    cookies = services.cookies
    cookies.carry(request, sender, signed_in.tokens, shows=shows, renews=renews)
    user = UserAnswer.model_validate(signed_in.user)
    return success(SignedInAnswer(user=user, **cookies.body_members(signed_in.tokens)))


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/auth/register",
        tag="Signing in",
        summary="Create an account in an organization, or join it with an existing one",
        detail="An existing e-mail with its right password joins. Who may register is a setting: everybody, who is "
        "invited, or nobody.",
        access=PUBLIC,
        handler=register,
        body=RegisterBody,
        form=True,
        answer=SignedInAnswer,
        cookies=True,
        refuses=(
            errors.OrganizationUnknown,
            errors.EmailUnacceptable,
            errors.NameUnacceptable,
            errors.PasswordUnacceptable,
            errors.EmailTaken,
            errors.AlreadyMember,
            errors.UserDisabled,
            errors.RegistrationClosed,
            errors.InvitationRequired,
            errors.InvitationRejected,
            errors.InvitationExpired,
            errors.InvitationSpent,
            errors.InvitationForAnother,
            errors.Throttled,
            errors.Overloaded,
        ),
    ),
    Endpoint(
        method="POST",
        path="/api/auth/login",
        tag="Signing in",
        summary="Sign in by e-mail and password",
        access=PUBLIC,
        handler=login,
        body=LoginBody,
        form=True,
        answer=SignedInAnswer,
        cookies=True,
        refuses=(
            errors.LoginRejected,
            errors.UserDisabled,
            errors.NotAMember,
            errors.Throttled,
            errors.Overloaded,
        ),
    ),
)
