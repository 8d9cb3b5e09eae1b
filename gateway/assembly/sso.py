"""Builders of single sign-on: the service, its HTTP client, and what the endpoints need of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from authcore.accounts.sso.account_finder import AccountFinder
from authcore.accounts.sso.configured import ConfiguredProviders
from authcore.accounts.sso.departures import Departures
from authcore.accounts.sso.registry import ProviderOptions, Registry
from authcore.accounts.sso.service import SingleSignOn
from authcore.accounts.sso.states import SignInStates
from gateway.assembly.steady_clock import steady
from gateway.endpoints.sso_flow import SsoFlow
from gateway.outbound.addresses import AddressPolicy

if TYPE_CHECKING:
    from authcore.accounts.sessions import Sessions
    from authcore.store.postgres import PostgresStore
    from config.settings import Settings
    from gateway.outbound.client import OutboundClient
    from gateway.wire.resolver import Resolver


def build_outbound(settings: Settings, resolver: Resolver | None) -> OutboundClient | None:
    """Build the HTTP client for providers; None if single sign-on is not hosted."""
    if settings.sso != "hosted":
        return None
    from gateway.outbound.client import OutboundClient  # noqa: PLC0415 -- it imports aiohttp

    provider = settings.provider
    return OutboundClient(
        AddressPolicy(provider.private_networks).permits,
        timeout_seconds=provider.timeout_seconds,
        most_bytes=provider.answer_bytes,
        resolver=resolver,
    )


def build_sso(
    settings: Settings, store: PostgresStore, sessions: Sessions, outbound: OutboundClient | None
) -> SingleSignOn | None:
    """Build the service; None if single sign-on is not hosted.

    Raises:
        ValueError: GATEWAY_JWT_SECRET is missing, which only a serving gateway needs.
    """
    if outbound is None:
        return None
    if settings.jwt.secret is None:
        raise ValueError("GATEWAY_JWT_SECRET is required")
    provider, secrets = settings.provider, (settings.jwt.secret, *settings.jwt.previous_secrets)
    states = SignInStates(
        (secret.get_secret_value().encode() for secret in secrets), seconds=provider.state_seconds
    )
    configured = build_configured(settings, store, outbound)
    accounts = AccountFinder(store, takes_unproved=provider.unproved_email)
    departures = Departures(store, sessions, configured)
    return SingleSignOn(store, sessions, states, configured, accounts, departures)


def build_configured(
    settings: Settings, store: PostgresStore, outbound: OutboundClient
) -> ConfiguredProviders:
    """Build the reader of the enabled providers."""
    key = settings.provider.secret_key
    registry = Registry(outbound, _options(settings), steady)
    return ConfiguredProviders(store, registry, None if key is None else key.get_secret_value().encode())


def build_sso_flow(settings: Settings, sso: SingleSignOn | None) -> SsoFlow | None:
    """Build the single sign-on flow of the endpoints; None if single sign-on is not hosted."""
    if sso is None:
        return None
    cookie, provider = settings.cookie, settings.provider
    return SsoFlow(
        sso,
        origin=provider.origin,
        base_path=cookie.base_path,
        is_secure=cookie.secure,
        seconds=provider.state_seconds,
    )


def _options(settings: Settings) -> ProviderOptions:
    provider = settings.provider
    issuer = provider.custom_issuer or ""
    hosts = {host for host in (urlsplit(issuer).hostname, *provider.custom_hosts) if host}
    return ProviderOptions(
        google_url=provider.google_url,
        microsoft_url=provider.microsoft_url,
        microsoft_tenants=frozenset(provider.microsoft_tenants),
        github_url=provider.github_url,
        facebook_url=provider.facebook_url,
        custom_issuer=issuer,
        custom_hosts=frozenset(hosts),
        trusted=frozenset(provider.trust_email),
        leeway_seconds=provider.leeway_seconds,
        cache_seconds=provider.cache_seconds,
        cooldown_seconds=provider.cooldown_seconds,
    )
