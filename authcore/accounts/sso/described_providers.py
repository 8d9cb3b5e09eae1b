"""Providers without an issuer: GitHub, Facebook, custom ones by three URLs, which describe a user at a URL (OAuth 2.0).

Laws:

- What counts is what the provider answers over TLS to the access token that it gave for the code.
- An e-mail counts only if the provider says that it has verified it, or an operator trusts this kind of provider.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authcore.accounts.sso.discovery import Endpoints
from authcore.accounts.sso.exchange import BASIC, POST, fetch_json, fetch_object, fetch_tokens
from authcore.accounts.sso.id_tokens import subject_of
from authcore.accounts.sso.identities import ProviderIdentity, ProviderKind, usable_email, usable_name
from authcore.accounts.sso.providers import OPENID
from authcore.accounts.sso.urls import of_provider
from authcore.errors import SsoIdentityRejected, TokenRejected
from authcore.tokens.openid_claims import verified_email

if TYPE_CHECKING:
    from authcore.accounts.sso.exchange import AuthorizationGrant, Client
    from authcore.accounts.sso.providers import Provider
    from authcore.accounts.sso.states import SignIn
    from authcore.outbound import Outbound

_LARGEST_ID: Final = 10**255
"""Bound of numeric ids: they are stored as text of at most 255 characters."""


def numeric_id(number: object) -> str:
    """Return a user's id that is a number as text; empty if it is no positive integer, or too large to be stored.

    0 is refused, since it is what a program sends that never set the id: all its users would share one account.
    """
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < _LARGEST_ID:
        return ""
    return str(number)


class GitHub:
    """GitHub, or a GitHub Enterprise Server: the user's id, and the primary e-mail if it is verified."""

    scopes = ("read:user", "user:email")

    def __init__(self, outbound: Outbound, url: str, api_url: str, hosts: frozenset[str]) -> None:
        self._outbound = outbound
        self._hosts = hosts
        self._url = url
        self._api_url = api_url
        self._endpoints = Endpoints(
            authorization=f"{url}/login/oauth/authorize",
            token=f"{url}/login/oauth/access_token",
            ways=(POST,),
        )

    async def endpoints(self) -> Endpoints:
        """Return its endpoints."""
        return self._endpoints

    async def identify(
        self, client: Client, grant: AuthorizationGrant, sign_in: SignIn, now: float
    ) -> ProviderIdentity:
        """Exchange a code, and ask for the user and their e-mails."""
        del sign_in, now
        outbound, hosts = self._outbound, self._hosts
        tokens = await fetch_tokens(
            outbound, self._endpoints.token, hosts, client, grant, self._endpoints.ways
        )
        user = await fetch_object(outbound, f"{self._api_url}/user", hosts, tokens.access)
        listed = await fetch_json(outbound, f"{self._api_url}/user/emails", hosts, tokens.access)
        account = numeric_id(user.get("id"))
        if not account:
            raise SsoIdentityRejected("the user has no id")
        emails = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        primary = next((one for one in emails if one.get("primary") is True), {})
        email = usable_email(primary.get("email"), is_verified=primary.get("verified") is True)
        return ProviderIdentity(
            kind=ProviderKind.GITHUB,
            issuer=self._url,
            account=account,
            email=email,
            name=usable_name(user.get("name") or user.get("login"), email),
            subject=account,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedSettings:
    """Settings of a provider without an issuer: its URLs, and the fields of its user description.

    Attributes:
        kind: Its kind.
        endpoints: Its endpoints.
        hosts: Its hosts.
        scopes: What is asked for.
        trusts_email: Its e-mails count though it does not say that it verified them.
    """

    kind: ProviderKind
    endpoints: Endpoints
    hosts: frozenset[str]
    scopes: tuple[str, ...]
    trusts_email: bool = False


class DescribedProvider:
    """Provider without an issuer that describes the user at one URL: Facebook, or a custom one by three URLs."""

    def __init__(self, outbound: Outbound, settings: DescribedSettings) -> None:
        self._outbound = outbound
        self._settings = settings
        self.scopes = settings.scopes

    async def endpoints(self) -> Endpoints:
        """Return its endpoints."""
        return self._settings.endpoints

    async def identify(
        self, client: Client, grant: AuthorizationGrant, sign_in: SignIn, now: float
    ) -> ProviderIdentity:
        """Exchange a code, and ask for the user."""
        del sign_in, now
        outbound, settings = self._outbound, self._settings
        endpoints = settings.endpoints
        tokens = await fetch_tokens(outbound, endpoints.token, settings.hosts, client, grant, endpoints.ways)
        user = await fetch_object(outbound, endpoints.profile, settings.hosts, tokens.access)
        account = subject_of(user) or subject_of(user, "id") or numeric_id(user.get("id"))
        if not account:
            raise SsoIdentityRejected("the user's description has no sub and no id")
        try:
            email = verified_email(user, is_trusted=settings.trusts_email)
        except TokenRejected as error:
            raise SsoIdentityRejected("the user's email is no text") from error
        email = usable_email(email, is_verified=True)
        return ProviderIdentity(
            kind=settings.kind,
            issuer=endpoints.token,
            account=account,
            email=email,
            name=usable_name(user.get("name"), email),
            subject=account,
        )


def facebook(
    outbound: Outbound, url: str, graph_url: str, hosts: frozenset[str], *, trusts_email: bool
) -> Provider:
    """Return Facebook, which does not say whether it has verified an e-mail."""
    endpoints = Endpoints(
        authorization=f"{url}/dialog/oauth",
        token=f"{graph_url}/oauth/access_token",
        profile=f"{graph_url}/me?fields=id,name,email",
        ways=(POST,),
    )
    settings = DescribedSettings(
        kind=ProviderKind.FACEBOOK,
        endpoints=endpoints,
        hosts=hosts,
        scopes=("email", "public_profile"),
        trusts_email=trusts_email,
    )
    return DescribedProvider(outbound, settings)


def custom_by_urls(
    outbound: Outbound, urls: tuple[str, str, str], hosts: frozenset[str], *, trusts_email: bool
) -> Provider:
    """Return a custom provider by the URLs of its row: where to sign in, for tokens, and for the user.

    Raises:
        SsoProviderFailed: a URL does not lead to one of the hosts by https.
    """
    authorization, token, profile = (of_provider(url, hosts) for url in urls)
    endpoints = Endpoints(authorization=authorization, token=token, profile=profile, ways=(BASIC, POST))
    settings = DescribedSettings(
        kind=ProviderKind.CUSTOM, endpoints=endpoints, hosts=hosts, scopes=OPENID, trusts_email=trusts_email
    )
    return DescribedProvider(outbound, settings)
