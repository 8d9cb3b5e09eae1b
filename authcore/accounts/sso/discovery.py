"""Discovery of an OpenID provider: its endpoints and its key set, fetched and cached (OpenID Connect Discovery 1.0).

Laws:

- The document's ``issuer`` is the one that was asked for, to the letter: a slash more is another issuer.
- Every URL that is used leads to a host of the provider by https; the outbound client holds this for what it fetches.
- The last good document is used while no newer one can be fetched. A newer one is waited for ``PATIENCE_SECONDS`` at
  most, so that a silent provider delays no sign-in for which the last one will do. Concurrent callers share one fetch.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authcore.accounts.sso.exchange import BASIC, fetch_object
from authcore.accounts.sso.urls import of_provider
from authcore.crypto.jwks_client import PATIENCE_SECONDS, JwksClient
from authcore.crypto.key_set_fetch import KeySetFetch
from authcore.errors import SsoProviderFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authcore.outbound import Outbound

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Algorithms that may sign an ID token: asymmetric ones, so that no secret in two hands makes one."""
RETRY_SECONDS: Final = 5
"""Seconds from a failed fetch to the next one, while there is an older document."""
_PATH: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Endpoints of a provider.

    Attributes:
        authorization: Where a browser is sent to sign in.
        token: Where a code is exchanged.
        profile: Where the user is described; empty if nowhere.
        end_session: Where a browser is sent to sign out; empty if nowhere.
        issuer: The issuer of its ID tokens, as its document writes it; empty if it issues none.
        names_issuer: Its callbacks have ``iss`` (RFC 9207).
        ways: Ways in which a client authenticates.
    """

    authorization: str
    token: str
    profile: str = ""
    end_session: str = ""
    issuer: str = ""
    names_issuer: bool = False
    ways: tuple[str, ...] = (BASIC,)


class Discovery:
    """Cache of one provider's document and key set.

    Attributes:
        steady: The clock by which both become due, and by which the key set is followed.
    """

    def __init__(  # noqa: PLR0913 -- its settings by name
        self,
        outbound: Outbound,
        issuer: str,
        hosts: frozenset[str],
        *,
        names: frozenset[str] | None = None,
        cache_seconds: float,
        cooldown_seconds: float,
        steady: Callable[[], float],
    ) -> None:
        """Prepare; nothing is fetched yet.

        Args:
            outbound: The HTTP client.
            issuer: Below it the document is.
            hosts: The provider's hosts.
            names: What the document may call the issuer; None for `issuer` alone.
            cache_seconds: A document and a key set are used for so long.
            cooldown_seconds: An unknown ``kid`` has the key set fetched again at most this often.
            steady: A clock that nobody sets, in seconds, by which document and key set become due.
        """
        self.steady = steady
        self._outbound = outbound
        self._issuer = issuer
        self._hosts = hosts
        self._names = names or frozenset({issuer})
        self._cache_seconds = cache_seconds
        self._cooldown_seconds = cooldown_seconds
        self._found: tuple[Endpoints, JwksClient] | None = None
        self._key_set_url = ""
        self._due = self._began = 0.0
        self._flight: asyncio.Task[None] | None = None
        self._problem = ""

    async def current(self) -> tuple[Endpoints, JwksClient]:
        """Return the endpoints and the client of the key set.

        Raises:
            SsoProviderFailed: the document cannot be fetched or used, and there is no older one.
        """
        if self._found is None:
            # A caller that leaves does not end the fetch of the others.
            await asyncio.shield(self._renewing())
        elif self.steady() >= self._due:
            renewing = self._renewing()
            await asyncio.wait([renewing], timeout=self._began + PATIENCE_SECONDS - self.steady())
        if self._found is None:
            raise SsoProviderFailed(self._problem)
        return self._found

    def _renewing(self) -> asyncio.Task[None]:
        """Return the fetch that is under way; one begins if there is none."""
        if self._flight is None:
            self._began = self.steady()
            self._flight = asyncio.ensure_future(self._renew())
            self._flight.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._flight

    async def _renew(self) -> None:
        try:
            self._found = await self._fetch()
            self._due = self.steady() + self._cache_seconds
        except SsoProviderFailed as error:
            self._problem, self._due = error.why, self.steady() + RETRY_SECONDS
        finally:
            self._flight = None

    async def _fetch(self) -> tuple[Endpoints, JwksClient]:
        document = await fetch_object(self._outbound, self._issuer.rstrip("/") + _PATH, self._hosts)
        named = document.get("issuer")
        if not isinstance(named, str) or named not in self._names:
            raise SsoProviderFailed(
                f"the provider calls itself {named!r:.200}, and is set as {', '.join(sorted(self._names))}"
            )
        ways = document.get("token_endpoint_auth_methods_supported", [BASIC])
        endpoints = Endpoints(
            authorization=self._url(document, "authorization_endpoint"),
            token=self._url(document, "token_endpoint"),
            profile=self._url(document, "userinfo_endpoint", is_optional=True),
            end_session=self._url(document, "end_session_endpoint", is_optional=True),
            issuer=named,
            names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
            ways=tuple(way for way in ways if isinstance(way, str)) if isinstance(ways, list) else (),
        )
        return endpoints, self._keys(self._url(document, "jwks_uri"))

    def _keys(self, url: str) -> JwksClient:
        if self._found is not None and url == self._key_set_url:
            return self._found[1]
        self._key_set_url = url
        return JwksClient(
            KeySetFetch(self._outbound, url, self._hosts),
            algorithms=ALGORITHMS,
            cache_seconds=self._cache_seconds,
            cooldown_seconds=self._cooldown_seconds,
        )

    def _url(self, document: Mapping[str, object], name: str, *, is_optional: bool = False) -> str:
        url = document.get(name)
        if url is None and is_optional:
            return ""
        if not isinstance(url, str):
            raise SsoProviderFailed(f"the provider's document has no {name}")
        return of_provider(url, self._hosts)
