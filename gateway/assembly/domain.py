"""Builder of the auth domain: store, keys, tokens, sessions, accounts and identity on one database."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from authcore.accounts.invitations import Invitations, Registration
from authcore.accounts.sessions import Reuse, Sessions
from authcore.accounts.shared_sessions import SharedSessions
from authcore.crypto.jwks_client import JwksClient
from authcore.crypto.key_set_fetch import KeySetFetch
from authcore.identity.api_keys import derive_secret
from authcore.identity.foreign_issuer import ForeignIssuer, Mapped
from authcore.identity.service import IdentityService
from authcore.identity.verdict_cache import Limits
from authcore.passwords.hasher import Passwords
from authcore.sign_in_throttle import SignInThrottle
from authcore.store.attempt_rows import AttemptLimits
from authcore.tokens.issuer import Tokens
from gateway.assembly.database import build_redis, listen_address, open_store
from gateway.assembly.key_ring import ring_of
from gateway.assembly.quotas import build_quotas
from gateway.assembly.sso import build_outbound, build_sso
from gateway.assembly.steady_clock import steady
from gateway.assembly.trail import build_trail
from gateway.assembly.watches import unusable_hash_events
from gateway.proxy.loops import LoopMark
from gateway.wire.dialler import connect

if TYPE_CHECKING:
    from authcore.accounts.sso.service import SingleSignOn
    from authcore.crypto.keyring import KeyRing
    from authcore.crypto.rotation import Rotation
    from authcore.identity.foreign_issuer import Users
    from authcore.store.clock import DatabaseClock
    from authcore.store.postgres import PostgresStore
    from authcore.store.whatomate_redis import WhatomateRedis
    from config.settings import Settings
    from gateway.assembly.quotas import QuotaService
    from gateway.outbound.client import OutboundClient
    from gateway.trail.trail import Trail
    from gateway.wire.resolver import Resolver


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Auth domain: the parts of authcore that a gateway uses, built on one database."""

    store: PostgresStore
    clock: DatabaseClock
    ring: KeyRing
    rotation: Rotation | None
    tokens: Tokens
    passwords: Passwords
    attempts: SignInThrottle
    invitations: Invitations
    sessions: Sessions
    identity: IdentityService
    redis: WhatomateRedis | None
    quotas: QuotaService | None
    outbound: OutboundClient | None
    """The HTTP client for identity providers; None if single sign-on is not hosted."""
    sso: SingleSignOn | None
    trail: Trail
    loop: LoopMark = field(default_factory=LoopMark)
    """The mark of what this gateway forwards; explaining shows the same."""


async def build_domain(settings: Settings, resolver: Resolver | None = None) -> Domain:
    """Build the auth domain. The database need not be reachable; `resolver` finds its addresses, else the driver.

    Raises:
        ValueError: a setting is missing that only a serving gateway needs.
        KeysUnusable: the key directory cannot be used.
    """
    if settings.database.url is None or settings.jwt.secret is None:
        raise ValueError("GATEWAY_DATABASE_URL and GATEWAY_JWT_SECRET are required")
    ring, rotation = ring_of(settings, steady())
    dial = None if resolver is None else partial(connect, resolver)
    store = await open_store(settings, dial)
    tokens = _build_tokens(settings, ring)
    passwords = _build_passwords(settings)
    attempts = SignInThrottle(store, AttemptLimits(**settings.signin.model_dump()))
    key_secret = settings.keys.secret or settings.jwt.secret
    identity = IdentityService(
        store,
        tokens,
        passwords,
        address=listen_address(settings, dial),
        limits=Limits(**settings.identity.model_dump()),
        key_secret=derive_secret(key_secret.get_secret_value().encode()),
        attempts=attempts,
        foreign=build_foreign(settings, store, resolver),
        lenient=settings.is_lenient_about_organizations,
    )
    redis = build_redis(settings, dial)
    sessions = _build_sessions(settings, store, tokens, identity, redis)
    invitations = _build_invitations(settings, store, tokens)
    outbound = build_outbound(settings, resolver)
    clock = store.clock(time.time, steady)
    return Domain(
        store=store,
        clock=clock,
        ring=ring,
        rotation=rotation,
        tokens=tokens,
        passwords=passwords,
        attempts=attempts,
        invitations=invitations,
        sessions=sessions,
        identity=identity,
        redis=redis,
        quotas=build_quotas(settings, store, clock),
        outbound=outbound,
        sso=build_sso(settings, store, sessions, outbound),
        trail=build_trail(settings, store, clock),
    )


def _build_tokens(settings: Settings, ring: KeyRing) -> Tokens:
    return Tokens(
        ring,
        issuer=settings.jwt.issuer,
        leeway_seconds=settings.jwt.leeway_seconds,
        access_seconds=settings.token.access_seconds,
        refresh_seconds=settings.token.refresh_seconds,
        ticket_seconds=settings.ws.ticket_seconds,
    )


def _build_passwords(settings: Settings) -> Passwords:
    password = settings.password
    return Passwords(
        min_length=password.min_length,
        cost=password.cost,
        workers=password.workers,
        queue=password.queue,
        network_workers=password.network_workers,
        network_queue=password.network_queue,
        report=unusable_hash_events(),
    )


def _build_sessions(
    settings: Settings,
    store: PostgresStore,
    tokens: Tokens,
    identity: IdentityService,
    redis: WhatomateRedis | None,
) -> Sessions:
    token = settings.token
    build = Sessions if redis is None else partial(SharedSessions, counterpart=redis)
    return build(
        store,
        tokens,
        grace_seconds=token.grace_seconds,
        reuse=Reuse(token.reuse),
        session_seconds=token.session_seconds,
        most=token.sessions,
        tell=identity.hear,
    )


def _build_invitations(settings: Settings, store: PostgresStore, tokens: Tokens) -> Invitations:
    registration = Registration(settings.registration)
    return Invitations(
        store,
        tokens,
        registration=registration,
        seconds=settings.invitation.seconds,
        most=settings.invitation.per_user,
    )


def build_foreign(settings: Settings, users: Users, resolver: Resolver | None = None) -> ForeignIssuer | None:
    """Build the verifier of a foreign issuer's tokens, who stand for `users`; None if no issuer is set."""
    issuer = settings.issuer
    if issuer.url is None or issuer.jwks_url is None:
        return None
    from gateway.outbound.client import OutboundClient  # noqa: PLC0415 -- it imports aiohttp

    # An operator has named the URL: it may lead into the cluster.
    client = OutboundClient(lambda _: True, timeout_seconds=issuer.timeout_seconds, resolver=resolver)
    host = urlsplit(issuer.jwks_url).hostname or ""
    keys = JwksClient(
        KeySetFetch(client, issuer.jwks_url, frozenset({host})),
        algorithms=issuer.algorithms,
        cache_seconds=issuer.cache_seconds,
        cooldown_seconds=issuer.cooldown_seconds,
    )
    mapped = Mapped(
        issuer=issuer.url,
        audiences=frozenset(issuer.audience),
        user_id=issuer.claim_user_id,
        email=issuer.claim_email,
        organization=issuer.claim_organization,
        trusts_email=issuer.trust_email,
        leeway_seconds=issuer.leeway_seconds,
        token_bytes=issuer.token_bytes,
        takes_unproved=issuer.unproved_email,
        custom_issuer=settings.provider.custom_issuer or "",
    )
    return ForeignIssuer(keys, mapped, users, steady)
