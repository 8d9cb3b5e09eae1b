"""Registry of providers: it makes the provider of a row from settings and row, and caches it.

Law: a provider that was made for other URLs than the row has now is not used again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authcore.accounts.sso.described_providers import GitHub, custom_by_urls, facebook
from authcore.accounts.sso.discovery import Discovery
from authcore.accounts.sso.identities import ProviderKind
from authcore.accounts.sso.providers import OpenIdProvider, OpenIdSettings
from authcore.accounts.sso.urls import hosts_of
from authcore.errors import SsoNotConfigured, SsoProviderFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from authcore.accounts.sso.providers import Provider
    from authcore.outbound import Outbound
    from authcore.store.sso_rows import ProviderRow

_GOOGLE: Final = ("oauth2.googleapis.com", "www.googleapis.com", "openidconnect.googleapis.com")
_MICROSOFT: Final = (
    "graph.microsoft.com",
    *("graph.microsoft.us", "dod-graph.microsoft.us"),  # of the clouds of the government of the United States
    "microsoftgraph.chinacloudapi.cn",
)
"""Where Microsoft's documents have UserInfo: each of its clouds has a host of its own."""
_GITHUB: Final = "https://github.com"
_FACEBOOK: Final = "https://www.facebook.com"
_GRAPH: Final = "https://graph.facebook.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderOptions:
    """Settings of operators about providers.

    Attributes:
        google_url: Google's issuer.
        microsoft_url: Microsoft's authority, such as that of a national cloud.
        microsoft_tenants: Ids of the tenants that may sign in; empty for all.
        github_url: GitHub, or a GitHub Enterprise Server.
        facebook_url: Facebook, or a version of its API.
        custom_issuer: The issuer of the custom provider; empty if its row has three URLs.
        custom_hosts: Hosts of the custom provider besides its issuer's.
        trusted: Kinds whose e-mails count though they do not say that they verified them.
        leeway_seconds: Clock skew forgiven.
        cache_seconds: A provider's document and key set are used for so long.
        cooldown_seconds: An unknown ``kid`` has the key set fetched again at most this often.
    """

    google_url: str
    microsoft_url: str
    microsoft_tenants: frozenset[str] = frozenset()
    github_url: str = _GITHUB
    facebook_url: str = _FACEBOOK
    custom_issuer: str = ""
    custom_hosts: frozenset[str] = frozenset()
    trusted: frozenset[str] = frozenset()
    leeway_seconds: float = 60
    cache_seconds: float = 300
    cooldown_seconds: float = 30


class Registry:
    """Registry of providers."""

    def __init__(self, outbound: Outbound, options: ProviderOptions, steady: Callable[[], float]) -> None:
        """`steady` is a clock that nobody sets, in seconds: by it documents and key sets become due."""
        self._outbound = outbound
        self._steady = steady
        self._options = options
        self._made: dict[ProviderKind, tuple[tuple[str, str, str], Provider]] = {}

    def is_named(self, kind: ProviderKind) -> bool:
        """Return whether an operator has named the provider of a kind, and no row of one organization."""
        return kind is not ProviderKind.CUSTOM or bool(self._options.custom_issuer)

    def provider(self, row: ProviderRow) -> Provider:
        """Return the provider of a row.

        Raises:
            SsoNotConfigured: a custom provider's row has no URLs that can be used.
        """
        kind = ProviderKind(row.provider)
        urls = (row.auth_url, row.token_url, row.profile_url)
        known = self._made.get(kind)
        if known is None or (not self.is_named(kind) and known[0] != urls):
            known = self._made[kind] = urls, self._make(kind, urls)
        return known[1]

    def _make(self, kind: ProviderKind, urls: tuple[str, str, str]) -> Provider:
        options = self._options
        trusts = kind in options.trusted
        match kind:
            case ProviderKind.GOOGLE:
                return self._openid(kind, options.google_url, frozenset(_GOOGLE))
            case ProviderKind.MICROSOFT:
                return self._microsoft()
            case ProviderKind.GITHUB:
                url = options.github_url
                api = "https://api.github.com" if url == _GITHUB else f"{url}/api/v3"
                return GitHub(self._outbound, url, api, hosts_of(url, api))
            case ProviderKind.FACEBOOK:
                url = options.facebook_url
                is_version = url.startswith(f"{_FACEBOOK}/")  # the dialog and the API are on two hosts
                graph = f"{_GRAPH}{url.removeprefix(_FACEBOOK)}" if is_version or url == _FACEBOOK else url
                return facebook(self._outbound, url, graph, hosts_of(url, graph), trusts_email=trusts)
            case ProviderKind.CUSTOM:
                if options.custom_issuer:
                    return self._openid(kind, options.custom_issuer, options.custom_hosts)
                return self._custom(urls, trusts_email=trusts)

    def _microsoft(self) -> Provider:
        options = self._options
        tenants, url = options.microsoft_tenants, options.microsoft_url
        where = "common" if not tenants else "organizations" if len(tenants) > 1 else next(iter(tenants))
        names = frozenset({f"{url}/{{tenantid}}/v2.0", f"{url}/{where}/v2.0"})
        hosts = frozenset(_MICROSOFT)
        return self._openid(
            ProviderKind.MICROSOFT, f"{url}/{where}/v2.0", hosts, names=names, tenants=tenants
        )

    def _openid(
        self,
        kind: ProviderKind,
        issuer: str,
        hosts: frozenset[str],
        *,
        names: frozenset[str] | None = None,
        tenants: frozenset[str] = frozenset(),
    ) -> Provider:
        options = self._options
        hosts |= hosts_of(issuer)
        discovery = Discovery(
            self._outbound,
            issuer,
            hosts,
            names=names,
            cache_seconds=options.cache_seconds,
            cooldown_seconds=options.cooldown_seconds,
            steady=self._steady,
        )
        settings = OpenIdSettings(
            kind=kind,
            hosts=hosts,
            trusts_email=kind in options.trusted,
            tenants=tenants,
            leeway_seconds=options.leeway_seconds,
        )
        return OpenIdProvider(self._outbound, discovery, settings)

    def _custom(self, urls: tuple[str, str, str], *, trusts_email: bool) -> Provider:
        try:
            return custom_by_urls(self._outbound, urls, hosts_of(*urls), trusts_email=trusts_email)
        except (SsoProviderFailed, ValueError) as error:
            raise SsoNotConfigured(
                "the row's auth_url, token_url and user_info_url should be https://host/path each; "
                "or set GATEWAY_PROVIDER_CUSTOM_ISSUER"
            ) from error
