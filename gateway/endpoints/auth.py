"""Sign-in endpoints ``/api/auth/register``, ``login`` and ``whoami``: they establish or show who the caller is.

They speak HTTP; authcore has the semantics.

Laws:

- The contract of an existing Whatomate client holds to the letter: statuses, messages, and the user object, which is a
  superset of every version's.
- ``whoami`` shows what upstreams are sent about the caller of the same request, and reads nothing else.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

from pydantic import Field

from authcore import errors
from authcore.credentials import PasswordLogin
from authcore.trail import Event
from gateway.endpoints.auth_forms import LoginBody, RegisterBody, SignedInAnswer, UserAnswer
from gateway.endpoints.bodies import read_body, success
from gateway.endpoints.describing import Answer
from gateway.endpoints.endpoint import CREDENTIAL, PUBLIC, Endpoint
from gateway.endpoints.recording import facts_of
from gateway.faults import BadRequest

if TYPE_CHECKING:
    from aiohttp import web

    from authcore.accounts.accounts import SignedIn
    from gateway.endpoints.caller import Caller, Visitor
    from gateway.endpoints.services import Services


async def register(services: Services, request: web.Request, visitor: Visitor) -> web.Response:
    """Create an account in an organization, or join it with an existing one."""
    body = await read_body(request, RegisterBody)
    if body.organization_id is None and body.invitation is None:
        raise BadRequest("organization_id is required")
    facts = facts_of(request)
    facts.email = body.email
    signed_in = await services.accounts.register(
        email=body.email,
        password=body.password,
        full_name=body.full_name,
        organization_id=body.organization_id,
        now=await services.now(),
        visit=visitor.visit,
        invitation=body.invitation,
    )
    facts.sign_in(signed_in)
    return answer_signed_in(services, request, visitor, signed_in)


async def login(services: Services, request: web.Request, visitor: Visitor) -> web.Response:
    """Sign in by e-mail and password."""
    body = await read_body(request, LoginBody)
    facts = facts_of(request)
    facts.email = body.email
    credential = PasswordLogin(body.email, body.password)
    signed_in = await services.accounts.login(credential, await services.now(), visitor.visit)
    facts.sign_in(signed_in)
    return answer_signed_in(services, request, visitor, signed_in)


class WhoamiAnswer(Answer):
    """The caller, as upstreams see it; null where there is nothing to show."""

    user_id: UUID
    email: str | None
    name: str | None = Field(description="The full name.")
    organization_id: UUID = Field(description="The organization acted in.")
    role_id: UUID | None
    role: str | None = Field(description="The name of the role.")
    permissions: list[str] = Field(description="Each as `resource:action`, sorted.")
    is_super_admin: bool
    session_id: UUID | None = Field(description="Null for an API key, and for a token of no session.")
    auth_method: str = Field(description="What `X-Auth-Method` tells upstreams.")
    credential: Literal["jwt", "cookie", "api_key", "foreign"] = Field(
        description="`foreign`: a token of a foreign issuer."
    )
    api_key_id: UUID | None
    expires_at: datetime | None = Field(
        description="When the gateway ceases to take the credential, leeway included; null: never."
    )
    attributes: dict[str, str] = Field(description="Identity headers besides these, by key.")


_WITH_FIELD: Final = {
    *(
        "user_id",
        "user_email",
        "user_name",
        "user_role",
        "user_role_id",
        "user_permissions",
        "user_super_admin",
    ),
    *("org_id", "auth_method", "auth_key_id", "session_id"),
}
"""Keys of the identity headers that have a field of their own in the answer of ``whoami``."""


_LAST_MOMENT: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The last expiry that can be shown: a token may be good until then, and the leeway goes beyond it."""


async def whoami(_services: Services, _request: web.Request, caller: Caller) -> web.Response:
    """Answer with the caller, as upstreams see it."""
    sent = caller.identity
    permissions = sent.get("user_permissions")
    return success(
        WhoamiAnswer(
            user_id=caller.user_id,
            email=sent.get("user_email"),
            name=sent.get("user_name"),
            organization_id=caller.organization_id,
            role_id=sent.get("user_role_id"),
            role=sent.get("user_role"),
            permissions=permissions.split(",") if permissions else [],
            is_super_admin=sent.get("user_super_admin") == "true",
            session_id=caller.session_id,
            auth_method=sent["auth_method"],
            credential=caller.credential.value,
            api_key_id=caller.key_id,
            expires_at=_expiry(caller),
            attributes={key: text for key, text in sent.items() if key not in _WITH_FIELD},
        )
    )


def _expiry(caller: Caller) -> datetime | None:
    if caller.expires_at is None:
        return None
    return datetime.fromtimestamp(min(caller.expires_at, _LAST_MOMENT.timestamp()), UTC)


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
        event=Event.REGISTER,
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
        event=Event.SIGN_IN,
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
    Endpoint(
        method="GET",
        path="/api/auth/whoami",
        tag="Signing in",
        summary="Show who the caller is, as upstreams see it",
        detail="With a credential of any kind. An upstream is sent the same with the caller's requests, unless it "
        "is configured to get fewer identity headers.",
        access=CREDENTIAL,
        handler=whoami,
        organization="any",
        answer=WhoamiAnswer,
    ),
)
