"""Builder of the foreign issuer, and the background task that keeps its key set fresh."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from authcore.crypto.jwks_client import JwksClient
from authcore.identity.foreign_issuer import ForeignIssuer, Mapped
from gateway.jwks_fetch import JwksFetch

if TYPE_CHECKING:
    from authcore.store.postgres import PostgresStore
    from config.settings import Settings

log = structlog.get_logger()


def build_foreign(settings: Settings, store: PostgresStore) -> ForeignIssuer | None:
    """Build the verifier of a foreign issuer's tokens; None if no issuer is set."""
    issuer = settings.issuer
    if issuer.url is None or issuer.jwks_url is None:
        return None
    keys = JwksClient(
        JwksFetch(issuer.jwks_url, timeout_seconds=issuer.timeout_seconds),
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
    )
    return ForeignIssuer(keys, mapped, store)


async def follow_issuer(foreign: ForeignIssuer) -> None:
    """Fetch the key set when it is due; log when it cannot be fetched, and when it can be again."""
    before = foreign.keys.problem
    await foreign.keys.follow(time.time())
    problem = foreign.keys.problem
    if problem and not before:
        log.warning("issuer_keys_not_fetched", problem=problem, until="the key set can be had")
    elif before and not problem:
        log.info("issuer_keys_fetched")
