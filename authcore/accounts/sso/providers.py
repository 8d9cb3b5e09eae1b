"""OpenID providers: sign-in at a provider with an issuer (OpenID Connect Core).

Laws:

- A provider is believed by its ID token; where that has no e-mail, or does not say whether it is verified, the UserInfo
  endpoint adds it for the same ``sub``.
- An e-mail counts only if the provider says that it has verified it, or an operator trusts this kind of provider.
- A tenant of Microsoft's writes any e-mail into its users. One counts where ``xms_edov`` says that its domain's owner
  proved it, or where an operator has named the tenants: then others are refused.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from authcore.accounts.sso.exchange import fetch_object, fetch_tokens
from authcore.accounts.sso.id_tokens import Expected, subject_of, verify_id_token, verify_logout_token
from authcore.accounts.sso.identities import ProviderIdentity, ProviderKind, usable_email, usable_name
from authcore.errors import SsoIdentityRejected, SsoProviderFailed, TokenRejected
from authcore.tokens.claims import text
from authcore.tokens.openid_claims import verified_email

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authcore.accounts.sso.discovery import Discovery, Endpoints
    from authcore.accounts.sso.exchange import AuthorizationGrant, Client, ProviderTokens
    from authcore.accounts.sso.states import SignIn
    from authcore.outbound import Outbound

OPENID: Final = ("openid", "email", "profile")
_TENANT: Final = "{tenantid}"
_EDOV: Final = (True, "true", "1", 1)


class Provider(Protocol):
    """Protocol of an identity provider, as a sign-in uses it."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that a sign-in asks for."""

    async def endpoints(self) -> Endpoints:
        """Return its endpoints.

        Raises:
            SsoProviderFailed: they cannot be had.
        """

    async def identify(
        self, client: Client, grant: AuthorizationGrant, sign_in: SignIn, now: float
    ) -> ProviderIdentity:
        """Exchange a code, and return the user who signed in.

        Raises:
            SsoProviderFailed: the provider does not answer as the protocol asks.
            SsoIdentityRejected: what it says is not to be believed.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdSettings:
    """Settings of an OpenID provider.

    Attributes:
        kind: Its kind.
        hosts: Its hosts.
        trusts_email: Its e-mails count without ``email_verified``.
        tenants: Microsoft's tenants that may sign in; empty for all.
        leeway_seconds: Clock skew forgiven.
    """

    kind: ProviderKind
    hosts: frozenset[str]
    trusts_email: bool = False
    tenants: frozenset[str] = frozenset()
    leeway_seconds: float = 60


@dataclass(frozen=True, slots=True)
class Logout:
    """Subject and session that a logout token names; empty if it names none."""

    issuer: str
    subject: str
    sid: str
    token_id: str


class OpenIdProvider:
    """Provider with an issuer: Google, Microsoft, or a custom one (OpenID Connect Core)."""

    scopes = OPENID

    def __init__(self, outbound: Outbound, discovery: Discovery, settings: OpenIdSettings) -> None:
        self._outbound = outbound
        self._discovery = discovery
        self._settings = settings

    async def endpoints(self) -> Endpoints:
        """Return its endpoints, as its document has them."""
        return (await self._discovery.current())[0]

    async def fetch(self) -> None:
        """Fetch the document and the key set, to find out whether both can be used.

        Raises:
            SsoProviderFailed: one of them cannot.
        """
        _, keys = await self._discovery.current()
        await keys.refresh(self._discovery.steady())
        if keys.problem:
            raise SsoProviderFailed(keys.problem)

    async def identify(
        self, client: Client, grant: AuthorizationGrant, sign_in: SignIn, now: float
    ) -> ProviderIdentity:
        """Exchange a code, verify the ID token and return its user."""
        endpoints, keys = await self._discovery.current()
        hosts = self._settings.hosts
        tokens = await fetch_tokens(self._outbound, endpoints.token, hosts, client, grant, endpoints.ways)
        if not tokens.id:
            raise SsoProviderFailed("the provider gave no ID token: it may not support the scope openid")
        claims = await verify_id_token(
            tokens.id,
            keys,
            self._expected(endpoints, client),
            nonce=sign_in.nonce,
            access_token=tokens.access,
            begun_at=sign_in.begun_at,
            now=now,
            steady=self._discovery.steady(),
        )
        described: Mapping[str, object] = claims
        if "email" not in claims and endpoints.profile:
            described = await self._described(endpoints, tokens, claims)
        elif endpoints.profile and self._leaves_verification_open(claims):
            # An account that is bound already needs no e-mail.
            with suppress(SsoProviderFailed, SsoIdentityRejected):
                described = await self._described(endpoints, tokens, claims)
        return self._identity(claims, described)

    async def read_logout(self, client: Client, token: str, now: float) -> Logout:
        """Verify a logout token and return what it names.

        Raises:
            SsoIdentityRejected: it is not to be believed.
            SsoProviderFailed: it cannot be judged now.
        """
        endpoints, keys = await self._discovery.current()
        expected, steady = self._expected(endpoints, client), self._discovery.steady()
        claims = await verify_logout_token(token, keys, expected, now, steady)
        issuer, token_id = str(claims["iss"]), str(claims["jti"])
        return Logout(issuer, subject_of(claims), text(claims, "sid") or "", token_id)

    def _expected(self, endpoints: Endpoints, client: Client) -> Expected:
        tenants = self._settings.tenants

        def is_issuer(claims: Mapping[str, object]) -> bool:
            tenant = str(claims.get("tid", ""))
            if tenants and tenant not in tenants:
                return False
            return claims.get("iss") == endpoints.issuer.replace(_TENANT, tenant)

        return Expected(issuer=is_issuer, client_id=client.id, leeway_seconds=self._settings.leeway_seconds)

    def _leaves_verification_open(self, claims: Mapping[str, object]) -> bool:
        """Return whether an ID token has an e-mail of which UserInfo may say that it is verified."""
        settings = self._settings
        return (
            claims.get("email_verified") is None
            and not settings.trusts_email
            and settings.kind is not ProviderKind.MICROSOFT
        )

    async def _described(
        self, endpoints: Endpoints, tokens: ProviderTokens, claims: Mapping[str, object]
    ) -> Mapping[str, object]:
        found = await fetch_object(self._outbound, endpoints.profile, self._settings.hosts, tokens.access)
        if found.get("sub") != claims["sub"]:  # OpenID Connect Core 5.3.2
            raise SsoIdentityRejected("UserInfo describes another user than the ID token")
        return found

    def _identity(self, claims: Mapping[str, object], described: Mapping[str, object]) -> ProviderIdentity:
        kind = self._settings.kind
        account = subject_of(claims, "oid" if kind is ProviderKind.MICROSOFT else "sub")
        if not account:
            raise SsoIdentityRejected("it has no oid: the app registration has to be for accounts of tenants")
        trusted = self._settings.trusts_email or bool(self._settings.tenants)
        if kind is ProviderKind.MICROSOFT:
            # email_verified is no claim of Microsoft's: where it is there, an administrator may have mapped it.
            trusted = trusted or claims.get("xms_edov") in _EDOV
            described = {**described, "email_verified": None}
        try:
            email = verified_email(described, is_trusted=trusted)
            sid = text(claims, "sid") or ""
        except TokenRejected as error:
            raise SsoIdentityRejected("its email or sid is no text") from error
        email = usable_email(email, is_verified=True)
        return ProviderIdentity(
            kind=kind,
            issuer=str(claims["iss"]),
            account=account,
            email=email,
            name=usable_name(described.get("name", claims.get("name")), email),
            subject=subject_of(claims),
            sid=sid,
        )
