"""Token endpoints ``/api/auth/refresh``, ``logout`` and ``switch-org``: they exchange or end the tokens of a session.

They speak HTTP; authcore has the semantics.

Law: the contract of an existing Whatomate client holds to the letter: statuses, messages, and the user object, which is
a superset of every version's.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import orjson
import structlog

from authcore import errors
from authcore.credentials import RefreshToken
from authcore.tokens.claims import RefreshClaims
from authcore.trail import Event
from gateway.endpoints.auth import answer_signed_in
from gateway.endpoints.auth_forms import (
    LoggedOutAnswer,
    RefreshBody,
    SignedInAnswer,
    SwitchBody,
    TokensAnswer,
)
from gateway.endpoints.bodies import read_body, success
from gateway.endpoints.endpoint import PUBLIC, TOKEN, Endpoint
from gateway.endpoints.recording import Facts, facts_of
from gateway.endpoints.sso_flow import end_session_url
from gateway.faults import BadRequest, GatewayFault, UnsupportedMediaType

if TYPE_CHECKING:
    from aiohttp import web

    from authcore.accounts.token_pairs import TokenPair
    from gateway.endpoints.caller import Caller, Visitor
    from gateway.endpoints.cookies import RefreshCookie
    from gateway.endpoints.services import Services

log = structlog.get_logger()


async def refresh(services: Services, request: web.Request, visitor: Visitor) -> web.Response:
    """Exchange a refresh token for a new pair; the old one is used up."""
    facts = facts_of(request)
    facts.skipped = True  # a browser refreshes every few minutes: only what is wrong is recorded
    now = await services.now()
    cookies = [] if await _names_token(request) else services.cookies.refresh_tokens(request, visitor, now)
    tokens = [one.token for one in cookies] or [await _sent_refresh_token(request)]
    refusals: list[errors.AuthError] = []
    for token in tokens:
        try:
            pair = await services.sessions.refresh(token, now, visitor.visit)
        except (
            errors.RefreshRejected,
            errors.RefreshRevoked,
            errors.RefreshUserUnknown,
            errors.UserDisabled,
        ) as error:
            if isinstance(error, errors.RefreshReused):
                log.warning("refresh_token_reused", session=str(error.session_id), ended=True)
                claims = services.tokens.verify(token.token, RefreshClaims, now)
                facts.skipped, facts.session_id = False, error.session_id
                facts.user_id, facts.organization_id = claims.user_id, claims.organization_id
            refusals.append(error)
        else:
            return _answer_tokens(services, request, visitor, pair)
    if cookies and await _are_over(services, refusals, cookies, now):
        services.cookies.clear(request, visitor)
    try:
        raise refusals[0]
    finally:
        refusals.clear()  # an error's traceback refers to this frame: that would be a cycle


async def logout(services: Services, request: web.Request, visitor: Visitor) -> web.Response:
    """End the sessions of the tokens that are sent: in the body, as the credential, or in cookies.

    Whatever is sent, the caller is signed out: always 200.
    """
    now = await services.now()
    services.cookies.clear(request, visitor)
    tokens = services.cookies.leaving(request)
    if visitor.bearer is not None:
        tokens.append(visitor.bearer)
    with suppress(GatewayFault, errors.RefreshMissing):
        tokens.append(await _sent_refresh_token(request))
    first = facts_of(request)
    first.skipped = True  # unless a session ends: anybody may send anything here
    for one in tokens:
        if isinstance(one, RefreshToken):
            ended = await services.sessions.close(one, now)
        else:
            ended = await services.sessions.close_bearer(one, now)
        if ended is None:
            continue
        facts = first if first.skipped else Facts()
        if facts is not first:  # each session has its record: they may be of several users
            first.further.append(facts)
        first.skipped = False
        facts.user_id, facts.organization_id, facts.session_id = ended
    elsewhere = await end_session_url(services, visitor, tokens, now)
    if elsewhere is None:
        return success(LoggedOutAnswer(status="logged_out"))
    return success(LoggedOutAnswer(status="logged_out", sso_logout_url=elsewhere))


async def switch(services: Services, request: web.Request, caller: Caller) -> web.Response:
    """Issue tokens for another organization, in the session of the caller's token."""
    body, now = await read_body(request, SwitchBody), await services.now()
    own, facts = caller.organization_id, facts_of(request)
    facts.target, facts.details = body.organization_id, {"from": str(own)}
    switched = await services.accounts.switch(
        caller.user_id,
        body.organization_id,
        now,
        caller.session_id,
        caller.visit,
        founded_at=services.founding(caller, now),
        of=(own, token_end(services, caller)),
    )
    facts.sign_in(switched)
    # A browser that stays where it is keeps the refresh token that it has, and its life.
    stays = own == body.organization_id and caller.session_id is not None
    facts.skipped = stays  # nothing has changed
    return answer_signed_in(services, request, caller, switched, shows=False, renews=not stays)


def token_end(services: Services, caller: Caller) -> float:
    """Return the ``exp`` of the caller's token, POSIX seconds, without the leeway; infinity if it has none."""
    return math.inf if caller.expires_at is None else caller.expires_at - services.tokens.leeway_seconds


async def _are_over(
    services: Services, refusals: list[errors.AuthError], cookies: list[RefreshCookie], now: float
) -> bool:
    """Return whether the session of each cookie is over."""
    for error, one in zip(refusals, cookies, strict=True):
        if not await _is_over(services, error, one, now):
            return False
    return True


async def _is_over(services: Services, error: errors.AuthError, cookie: RefreshCookie, now: float) -> bool:
    """Return whether the cookie's session is over.

    It is not if the client lost a race for a refresh: the browser has the winner's cookies, which must stay.
    """
    if not isinstance(error, errors.RefreshRevoked) or cookie.session_id is None:
        return True
    return not await services.sessions.is_live(cookie.session_id, now)


def _answer_tokens(
    services: Services, request: web.Request, visitor: Visitor, pair: TokenPair
) -> web.Response:
    services.cookies.carry(request, visitor, pair)
    return success(TokensAnswer(**services.cookies.body_members(pair)))


async def _sent_refresh_token(request: web.Request) -> RefreshToken:
    """Return the refresh token in the body.

    Raises:
        RefreshMissing: there is none, or the body cannot be read.
        ContentTooLarge: the body is larger than the application takes.
    """
    try:
        return RefreshToken((await read_body(request, RefreshBody)).refresh_token)
    except (BadRequest, UnsupportedMediaType):
        raise errors.RefreshMissing from None


async def _names_token(request: web.Request) -> bool:
    """Return whether the body is used and not the cookie: it is not empty, and no object without a token."""
    raw = await request.read()
    try:
        parsed = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError:
        return True
    return not isinstance(parsed, dict) or bool(parsed.get("refresh_token"))


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/auth/refresh",
        tag="Signing in",
        summary="Exchange a refresh token for a new pair",
        detail="The old one is used up: using it again, later than in a race, ends the session. With cookies the body "
        "may be absent.",
        access=PUBLIC,
        handler=refresh,
        event=Event.REFRESH_REUSE,
        body=RefreshBody,
        form=True,
        optional_body=True,
        lenient_body=True,
        cookies=True,
        csrf=True,
        answer=TokensAnswer,
        refuses=(
            errors.RefreshMissing,
            errors.RefreshRejected,
            errors.RefreshRevoked,
            errors.RefreshUserUnknown,
            errors.UserDisabled,
        ),
    ),
    Endpoint(
        method="POST",
        path="/api/auth/logout",
        limited=False,
        tag="Signing in",
        summary="End the session of the tokens that are sent",
        detail="In the body, as the credential, or in cookies. Whatever is sent, the caller is signed out: always 200.",
        access=PUBLIC,
        handler=logout,
        event=Event.LOGOUT,
        body=RefreshBody,
        form=True,
        optional_body=True,
        lenient_body=True,
        cookies=True,
        answer=LoggedOutAnswer,
    ),
    Endpoint(
        method="POST",
        path="/api/auth/switch-org",
        tag="Signing in",
        summary="Get tokens for another organization",
        detail="In the session of the caller's token. Super admins need no membership.",
        access=TOKEN,
        handler=switch,
        event=Event.SWITCH_ORGANIZATION,
        body=SwitchBody,
        form=True,
        answer=SignedInAnswer,
        refuses=(errors.OrganizationUnknown, errors.NotAMember),
    ),
)
