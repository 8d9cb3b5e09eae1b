"""``/api/auth``: register, login, refresh, switch organization, log out. HTTP only: what they mean is authcore's.

Law: the contract of an existing Whatomate client holds to the letter: statuses, messages, and the user object, which is
a superset of every version's.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import UUID

import orjson
import structlog

from authcore.credentials import BearerToken, PasswordLogin, RefreshToken
from authcore.errors import (
    RefreshMissing,
    RefreshRejected,
    RefreshReused,
    RefreshRevoked,
    RefreshUserUnknown,
    UserDisabled,
)
from gateway.endpoints.application import end_of, now_of, read_body, session_of, success, visit_of
from gateway.endpoints.auth_forms import (
    LoggedOutAnswer,
    LoginBody,
    RefreshBody,
    RegisterBody,
    SignedInAnswer,
    SwitchBody,
    TokensAnswer,
    UserAnswer,
)
from gateway.faults import BadRequest, GatewayFault, UnsupportedMediaType

if TYPE_CHECKING:
    from aiohttp import web

    from authcore.accounts.accounts import Accounts, SignedIn
    from authcore.accounts.sessions import Sessions
    from authcore.accounts.token_pairs import TokenPair
    from authcore.errors import AuthError
    from gateway.endpoints.cookies import CookiePolicy, RefreshCookie

OPEN_PATHS: Final = (
    "/api/auth/register",
    "/api/auth/login",
    "/api/auth/refresh",
    "/api/auth/logout",
)
"""Hosted without a credential."""

TOKEN_PATHS: Final = ("/api/auth/switch-org",)
"""Hosted for holders of an access token. An API key is bound to its organization and cannot leave it this way."""


log = structlog.get_logger()


class AuthEndpoints:
    """The handlers, over the domain's accounts and sessions."""

    def __init__(  # noqa: PLR0913 - its collaborators by position, its settings by name
        self,
        accounts: Accounts,
        sessions: Sessions,
        cookies: CookiePolicy,
        *,
        user_id_header: str,
        org_id_header: str,
        leeway_seconds: float = 0,
    ) -> None:
        """`user_id_header` is the name of the injected header that carries the caller's user id."""
        self._accounts = accounts
        self._sessions = sessions
        self._cookies = cookies
        self._user_id_header = user_id_header
        self._org_id_header = org_id_header
        self._leeway_seconds = leeway_seconds

    def add_to(self, application: web.Application) -> None:
        """Put the handlers under their paths."""
        handlers = (self.register, self.login, self.refresh, self.logout, self.switch)
        for path, handler in zip((*OPEN_PATHS, *TOKEN_PATHS), handlers, strict=True):
            application.router.add_post(path, handler)

    async def register(self, request: web.Request) -> web.Response:
        """Create an account in an organization, or join it with an existing one."""
        body = await read_body(request, RegisterBody)
        if body.organization_id is None and body.invitation is None:
            raise BadRequest("organization_id is required")
        signed_in = await self._accounts.register(
            email=body.email,
            password=body.password,
            full_name=body.full_name,
            organization_id=body.organization_id,
            now=await now_of(request),
            visit=visit_of(request),
            invitation=body.invitation,
        )
        return self._signed_in(request, signed_in)

    async def login(self, request: web.Request) -> web.Response:
        """Sign in by e-mail and password."""
        body = await read_body(request, LoginBody)
        login = PasswordLogin(body.email, body.password)
        signed_in = await self._accounts.login(login, await now_of(request), visit_of(request))
        return self._signed_in(request, signed_in)

    async def refresh(self, request: web.Request) -> web.Response:
        """Exchange a refresh token for a new pair; the old one is used up."""
        now = await now_of(request)
        cookies = [] if await _names_token(request) else self._cookies.refresh_tokens(request, now)
        tokens = [one.token for one in cookies] or [await _sent_refresh_token(request)]
        refusals: list[AuthError] = []
        for token in tokens:
            try:
                pair = await self._sessions.refresh(token, now, visit_of(request))
            except (RefreshRejected, RefreshRevoked, RefreshUserUnknown, UserDisabled) as error:
                if isinstance(error, RefreshReused):
                    log.warning("refresh_token_reused", session=str(error.session_id), ended=True)
                refusals.append(error)
            else:
                return self._tokens(request, pair)
        if cookies and await self._are_over(refusals, cookies, now):
            self._cookies.clear(request)
        raise refusals[0]

    async def _are_over(self, refusals: list[AuthError], cookies: list[RefreshCookie], now: float) -> bool:
        """Return whether the session of every cookie is over."""
        for error, one in zip(refusals, cookies, strict=True):
            if not await self._is_over(error, one, now):
                return False
        return True

    async def _is_over(self, error: AuthError, cookie: RefreshCookie, now: float) -> bool:
        """Return whether the cookie's session is over.

        It is not after a lost refresh race: the browser already holds the winner's cookies, which must stay.
        """
        if not isinstance(error, RefreshRevoked) or cookie.session_id is None:
            return True
        return not await self._sessions.is_live(cookie.session_id, now)

    async def logout(self, request: web.Request) -> web.Response:
        """End the sessions of the tokens that are sent: in the body, as the credential, or in cookies.

        Whatever is sent, the caller is signed out: always 200.
        """
        now = await now_of(request)
        self._cookies.clear(request)
        tokens = self._cookies.leaving(request)
        bearer = _bearer_of(request)
        if bearer is not None:
            tokens.append(bearer)
        with suppress(GatewayFault, RefreshMissing):
            tokens.append(await _sent_refresh_token(request))
        for one in tokens:
            if isinstance(one, RefreshToken):
                await self._sessions.close(one, now)
            else:
                await self._sessions.close_bearer(one, now)
        return success(LoggedOutAnswer(status="logged_out"))

    async def switch(self, request: web.Request) -> web.Response:
        """Give tokens for another organization, in the session of the caller's token."""
        body, now = await read_body(request, SwitchBody), await now_of(request)
        bearer, own = _bearer_of(request), UUID(request.headers[self._org_id_header])
        switched = await self._accounts.switch(
            UUID(request.headers[self._user_id_header]),
            body.organization_id,
            now,
            session_of(request),
            visit_of(request),
            founded_at=None if bearer is None else self._sessions.founding(bearer, now),
            of=(own, end_of(request, self._leeway_seconds)),
        )
        # A browser that stays where it is keeps the refresh token that it has, and its life.
        stays = own == body.organization_id and session_of(request) is not None
        return self._signed_in(request, switched, shows=False, renews=not stays)

    def _signed_in(
        self, request: web.Request, signed_in: SignedIn, *, shows: bool = True, renews: bool = True
    ) -> web.Response:
        self._cookies.carry(request, signed_in.tokens, shows=shows, renews=renews)
        user = UserAnswer.model_validate(signed_in.user)
        return success(SignedInAnswer(user=user, **self._cookies.body_members(signed_in.tokens)))

    def _tokens(self, request: web.Request, pair: TokenPair) -> web.Response:
        self._cookies.carry(request, pair)
        return success(TokensAnswer(**self._cookies.body_members(pair)))


async def _sent_refresh_token(request: web.Request) -> RefreshToken:
    """Return the refresh token in the body.

    Raises:
        RefreshMissing: there is none, or the body cannot be read.
        ContentTooLarge: the body is larger than the application takes.
    """
    try:
        return RefreshToken((await read_body(request, RefreshBody)).refresh_token)
    except (BadRequest, UnsupportedMediaType):
        raise RefreshMissing from None


def _bearer_of(request: web.Request) -> BearerToken | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    return BearerToken(token.strip().encode(errors="surrogateescape"))


async def _names_token(request: web.Request) -> bool:
    """Whether a body is there that cookies do not stand in for: all but none, or an object without a token."""
    raw = await request.read()
    try:
        parsed = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError:
        return True
    return not isinstance(parsed, dict) or bool(parsed.get("refresh_token"))
