"""Background tasks of the domain: what is purged, measured, refreshed and followed, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from authcore.crypto.key_directory import KeysUnusable
from gateway.assembly.quotas import GAP_SECONDS
from gateway.assembly.steady_clock import steady
from gateway.assembly.watches import (
    CLOCK_SECONDS,
    COMPARE_SECONDS,
    SCHEMA_SECONDS,
    ClockWatch,
    SchemaWatch,
    compare_connections,
)
from gateway.trail.trail import GAP_SECONDS as TRAIL_SECONDS

if TYPE_CHECKING:
    from authcore.identity.foreign_issuer import ForeignIssuer
    from authcore.store.postgres import PostgresStore
    from config.settings import Settings
    from gateway.assembly.domain import Domain
    from gateway.background import BackgroundTasks
    from gateway.proxy.sockets import Sockets
    from gateway.status.readiness import Readiness

log = structlog.get_logger()

PURGE_SECONDS: Final = 3600
PURGE_ATTEMPTS_SECONDS: Final = 60
FORGET_SECONDS: Final = 30
NOTE_SECONDS: Final = 60
ISSUER_SECONDS: Final = 1
REDIS_SECONDS: Final = 5


def begin_background(
    tasks: BackgroundTasks, settings: Settings, domain: Domain, sockets: Sockets, processes: int
) -> None:
    """Schedule all background tasks, in one of `processes`."""
    every, identity, sessions, attempts = tasks.every, domain.identity, domain.sessions, domain.attempts
    invitations, now = domain.invitations, domain.clock.now
    clock = ClockWatch(domain.clock, skew_seconds=settings.database.skew_seconds, steady=steady)
    tasks.once("measure_clock", clock.look)
    every(CLOCK_SECONDS, "measure_clock", clock.look)
    most = settings.database.pool_max
    tasks.once("compare_connections", lambda: compare_connections(domain.store, most, processes))
    every(COMPARE_SECONDS, "compare_connections", lambda: compare_connections(domain.store, most, processes))
    tasks.once("watch_sockets", sockets.watch)
    every(settings.jwt.keys_poll_seconds, "follow_keys", lambda: follow_keys(domain, sockets))
    foreign = identity.foreign
    if foreign is not None:
        tasks.once("fetch_issuer_keys", lambda: follow_issuer(foreign))
        every(ISSUER_SECONDS, "fetch_issuer_keys", lambda: follow_issuer(foreign))
    every(FORGET_SECONDS, "forget_successors", lambda: sessions.forget_successors(now()))
    every(NOTE_SECONDS, "note_passwords", sessions.note_passwords)
    every(PURGE_ATTEMPTS_SECONDS, "purge_attempts", lambda: attempts.purge(now()))
    every(PURGE_SECONDS, "purge_sessions", lambda: sessions.purge(now()))
    every(PURGE_SECONDS, "purge_invitations", lambda: invitations.purge(now()))
    every(PURGE_SECONDS, "purge_key_digests", lambda: identity.purge(now()))
    tasks.once("learn_hash_costs", lambda: _learn_hash_costs(domain))
    every(PURGE_SECONDS, "learn_hash_costs", lambda: _learn_hash_costs(domain))
    sso = domain.sso
    if sso is not None:
        every(PURGE_SECONDS, "purge_sso", lambda: sso.departures.purge(now()))
    if domain.redis is not None:
        every(REDIS_SECONDS, "ask_whatomate_redis", domain.redis.probe)
    if domain.quotas is not None:
        every(GAP_SECONDS, "settle_quotas", domain.quotas.turn)
        every(PURGE_SECONDS, "purge_quotas", domain.quotas.purge)
    every(TRAIL_SECONDS, "write_audit_trail", domain.trail.turn)
    tasks.once("tidy_audit_trail", domain.trail.tidy)
    every(PURGE_SECONDS, "tidy_audit_trail", domain.trail.tidy)
    every(PURGE_SECONDS, "purge_tickets", lambda: identity.purge_tickets(now()))


def watch_database(tasks: BackgroundTasks, store: PostgresStore, readiness: Readiness) -> None:
    """Schedule the looks at the schema, for the log, and at readiness, for its metric."""
    schema = SchemaWatch(store)
    tasks.once("tell_if_unready", schema.begin)
    tasks.every(SCHEMA_SECONDS, "look_at_schema", schema.look)
    tasks.once("look_at_readiness", readiness.look)
    tasks.every(SCHEMA_SECONDS, "look_at_readiness", readiness.look)


async def _learn_hash_costs(domain: Domain) -> None:
    """Make a failed sign-in take as long as the costliest stored hash: else its time would reveal known e-mails."""
    cost = await domain.store.highest_password_cost()
    if cost is not None:
        domain.passwords.learn(cost)


async def follow_keys(domain: Domain, sockets: Sockets) -> None:
    """Swap the key ring if its directory has changed; an unusable directory is logged once, and changes nothing."""
    if domain.rotation is None:
        return

    def withdrawn() -> None:
        domain.identity.forget()
        sockets.withdraw()

    try:
        taken = await domain.rotation.check(steady(), withdrawn)
    except KeysUnusable as error:
        log.error("keys_not_taken", problem=str(error), until="the key directory is mended")  # noqa: TRY400 - the problem says it all
    else:
        if taken:
            log.info(
                "keys_taken",
                signs=domain.ring.signing.kid or domain.ring.signing.source,
                verify=[key.kid for key in domain.ring if key.kid is not None],
            )


async def follow_issuer(foreign: ForeignIssuer) -> None:
    """Fetch the key set when it is due; log when it cannot be fetched, and when it can be again."""
    before = foreign.keys.problem
    await foreign.keys.follow(steady())
    problem = foreign.keys.problem
    if problem and not before:
        log.warning("issuer_keys_not_fetched", problem=problem, until="the key set can be had")
    elif before and not problem:
        log.info("issuer_keys_fetched")
