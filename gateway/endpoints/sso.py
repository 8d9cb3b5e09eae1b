"""Single sign-on endpoints ``/api/auth/sso/*``, for GATEWAY_SSO=hosted: a browser's way to its provider and back.

They speak HTTP; authcore has the semantics.

Laws:

- What Whatomate's clients know holds: paths, the list of providers, and where the browser lands
  (``/auth/sso/callback`` with a session, or ``/login?sso_error=`` with the reason in words).
- Where it lands is a path of this host, and nothing that a request says becomes a part of it.
- A session is in cookies where they are on. Otherwise its tokens are in the fragment, for clients that send Bearer
  tokens.
- A sign-in is bound to its browser by a cookie that scripts cannot read and, where cookies are secure, that no other
  host can set (``__Host-``). It is no credential: of use only together with the provider's answer and the gateway's
  secret.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlencode

import structlog
from pydantic import BaseModel, Field

from authcore import errors
from authcore.accounts.sso.identities import ProviderKind
from authcore.accounts.sso.service import Callback
from authcore.trail import Event
from gateway.endpoints.bodies import read_body, refused, success
from gateway.endpoints.describing import Answer, MessageAnswer
from gateway.endpoints.endpoint import PUBLIC, Endpoint
from gateway.endpoints.recording import facts_of
from gateway.endpoints.sso_flow import LOGIN
from gateway.logs.limited import LimitedEvents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from aiohttp import web

    from config.settings import Settings
    from gateway.endpoints.caller import Visitor
    from gateway.endpoints.services import Services
    from gateway.endpoints.sso_flow import SsoFlow
    from gateway.faults import Fault

    Handler = Callable[[Services, web.Request, Visitor], Awaitable[web.Response]]

log = structlog.get_logger()
_refusals = LimitedEvents()

_LANDING: Final = "/auth/sso/callback"
_SENT_BACK: Final = frozenset(
    status for status in HTTPStatus if status < HTTPStatus.INTERNAL_SERVER_ERROR
) | {HTTPStatus.BAD_GATEWAY}
"""Statuses that the login page explains to a user; an outage of ours stays one, for those who watch."""


class ProviderAnswer(Answer):
    """A provider that a user can choose."""

    provider: str = Field(description="Goes into the path of `init`.")
    name: str = Field(description="Its name, for a page.")


class CallbackQuery(BaseModel):
    """Query with which a provider sends a browser back."""

    state: str = Field("", description="As it was sent to the provider.")
    code: str = Field("", description="The authorization code.")
    error: str = Field("", description="In place of a code.")
    iss: str = Field("", description="The provider's issuer (RFC 9207).")


class LogoutBody(BaseModel):
    """Body of a provider's back-channel logout request."""

    logout_token: Annotated[str, Field(min_length=1)]


async def providers(services: Services, _request: web.Request, _visitor: Visitor) -> web.Response:
    """List the providers that a user can choose from."""
    kinds = await _flow(services).service.configured.kinds()
    return success([ProviderAnswer(provider=kind, name=kind.label).model_dump() for kind in kinds])


def send_back(services: Services, fault: Fault) -> web.Response:
    """Return the answer to a fault on the way to a provider or back: the login page shows it."""
    if fault.status not in _SENT_BACK:
        return refused(fault)
    return _redirect(f"{_flow(services).base_path}{LOGIN}?{urlencode({'sso_error': fault.message})}")


def _beginning(kind: ProviderKind) -> Handler:
    async def begin(services: Services, request: web.Request, visitor: Visitor) -> web.Response:
        """Send the browser to the provider."""
        flow, now = _flow(services), await services.now()
        callback = flow.url(visitor, _callback_path(kind))
        try:
            there = await flow.service.begin(kind, callback, flow.bindings(request), now)
        except errors.SsoRefused as error:
            _report(kind, error)
            raise
        response = _redirect(there.url)
        response.headers.add("Set-Cookie", flow.set_cookie(there.binding))
        return response

    return begin


def _ending(kind: ProviderKind) -> Handler:
    async def end(services: Services, request: web.Request, visitor: Visitor) -> web.Response:
        """Begin a session for the user whom the provider sends back."""
        facts = facts_of(request)
        facts.details = {"provider": kind.value}
        flow, now = _flow(services), await services.now()
        try:
            callback = Callback(
                url=flow.url(visitor, _callback_path(kind)),
                bindings=flow.bindings(request),
                state=_one(request, "state"),
                code=_one(request, "code"),
                error=_one(request, "error"),
                issuer=_one(request, "iss") or None,
            )
            if not callback.state or not (callback.code or callback.error):
                raise errors.SsoParametersInvalid("the callback has no state, or neither a code nor an error")
            pair, subject = await flow.service.finish(kind, callback, now, visitor.visit)
            facts.user_id, facts.organization_id = subject.user_id, subject.organization_id
            facts.session_id, facts.email = pair.session_id, subject.email
        except errors.AuthError as error:
            _report(kind, error)
            raise
        log.info("sso_signed_in", provider=kind, session=str(pair.session_id))
        services.cookies.carry(request, visitor, pair)
        return _redirect(f"{flow.base_path}{_LANDING}{services.cookies.fragment(pair)}")

    return end


def _leaving(kind: ProviderKind) -> Handler:
    async def leave(services: Services, request: web.Request, _visitor: Visitor) -> web.Response:
        """End the sessions that the provider says are over."""
        body = await read_body(request, LogoutBody)
        try:
            ended = await _flow(services).service.departures.leave(
                kind, body.logout_token, await services.now()
            )
        except errors.SsoIdentityRejected as error:
            _report(kind, error)
            raise errors.SsoIdentityRejected(error.why, "The logout token is not valid") from None
        except errors.SsoRefused as error:
            _report(kind, error)
            raise
        log.info("sso_logged_out", provider=kind, sessions=ended)
        facts_of(request).details = {"provider": kind.value, "sessions": ended}
        return success(MessageAnswer(message="The sessions have ended"))

    return leave


def _flow(services: Services) -> SsoFlow:
    if services.sso is None:
        raise RuntimeError("single sign-on is not hosted")
    return services.sso


def _redirect(location: str) -> web.Response:
    """Return an answer that leads elsewhere; neither cached nor named to where it leads."""
    from aiohttp import web

    return web.Response(
        status=HTTPStatus.TEMPORARY_REDIRECT,
        text="See Location\n",
        headers={"Location": location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
    )


def _one(request: web.Request, name: str) -> str:
    """Return a parameter of the query; empty if it is absent.

    Raises:
        SsoParametersInvalid: there are several.
    """
    values = request.query.getall(name, [])
    if len(values) > 1:
        raise errors.SsoParametersInvalid(f"the callback has {len(values)} parameters {name}")
    return values[0] if values else ""


def _report(kind: ProviderKind, error: errors.AuthError) -> None:
    """Log why a sign-in was refused, at a limited rate: any client can cause it."""
    why = error.why if isinstance(error, errors.SsoRefused) else ""
    _refusals.warning(
        "sso_refused",
        key=f"{kind} {type(error).__name__} {why}",
        provider=kind,
        reason=error.reason,
        message=str(error),
        why=why,
    )


def _callback_path(kind: ProviderKind) -> str:
    return f"/api/auth/sso/{kind}/callback"


def _is_hosted(settings: Settings) -> bool:
    return settings.sso == "hosted"


def _of_kind(kind: ProviderKind) -> Iterator[Endpoint[Visitor]]:
    yield Endpoint(
        method="GET",
        path=f"/api/auth/sso/{kind}/init",
        head=False,
        tag="Single sign-on",
        summary=f"Go to {kind.label} to sign in",
        detail="For a browser. What is wrong is shown at the login page: `/login?sso_error=...`.",
        access=PUBLIC,
        handler=_beginning(kind),
        status=HTTPStatus.TEMPORARY_REDIRECT,
        media="text/plain",
        refused=send_back,
        when=_is_hosted,
    )
    yield Endpoint(
        method="GET",
        path=_callback_path(kind),
        head=False,
        tag="Single sign-on",
        summary=f"Come back from {kind.label}, with a session",
        detail="Leads to `/auth/sso/callback`, with cookies where they are on, else with the tokens in the fragment, "
        "or to `/login?sso_error=...`.",
        access=PUBLIC,
        handler=_ending(kind),
        event=Event.SSO_SIGN_IN,
        query=CallbackQuery,
        cookies=True,
        status=HTTPStatus.TEMPORARY_REDIRECT,
        media="text/plain",
        refused=send_back,
        when=_is_hosted,
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/auth/sso/providers",
        tag="Single sign-on",
        summary="List the providers that a user can choose from",
        access=PUBLIC,
        handler=providers,
        answer=ProviderAnswer,
        answers_list=True,
        when=_is_hosted,
    ),
    *(endpoint for kind in ProviderKind for endpoint in _of_kind(kind)),
    Endpoint(
        method="POST",
        path=f"/api/auth/sso/{ProviderKind.CUSTOM}/backchannel-logout",
        tag="Single sign-on",
        summary="End the sessions of a user who signed out at the provider",
        detail="For the provider, with a logout token (OpenID Connect Back-Channel Logout).",
        access=PUBLIC,
        handler=_leaving(ProviderKind.CUSTOM),
        event=Event.SSO_LOGOUT,
        body=LogoutBody,
        form=True,
        answer=MessageAnswer,
        refuses=(errors.SsoIdentityRejected, errors.SsoNotConfigured, errors.SsoProviderFailed),
        when=_is_hosted,
    ),
)
