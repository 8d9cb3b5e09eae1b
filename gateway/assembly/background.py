"""Background tasks of the domain: what is purged, measured and refreshed, and how often."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from gateway.assembly.clock import CLOCK_SECONDS, ClockWatch
from gateway.assembly.connections import COMPARE_SECONDS, compare_connections
from gateway.assembly.foreign import follow_issuer
from gateway.assembly.rotation import follow_keys

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.assembly.domain import Domain
    from gateway.background import BackgroundTasks
    from gateway.proxy.sockets import Sockets

PURGE_SECONDS: Final = 3600
PURGE_ATTEMPTS_SECONDS: Final = 60
FORGET_SECONDS: Final = 30
NOTE_SECONDS: Final = 60
ISSUER_SECONDS: Final = 1
REDIS_SECONDS: Final = 5


def begin_chores(
    chores: BackgroundTasks, settings: Settings, domain: Domain, sockets: Sockets, processes: int
) -> None:
    """Schedule all background tasks, in one of `processes`."""
    every, identity, sessions, attempts = chores.every, domain.identity, domain.sessions, domain.attempts
    invitations, now = domain.invitations, domain.clock.now
    clock = ClockWatch(domain.clock, skew_seconds=settings.database.skew_seconds, steady=time.monotonic)
    chores.once("measure_clock", clock.look)
    every(CLOCK_SECONDS, "measure_clock", clock.look)
    most = settings.database.pool_max
    chores.once("compare_connections", lambda: compare_connections(domain.store, most, processes))
    every(COMPARE_SECONDS, "compare_connections", lambda: compare_connections(domain.store, most, processes))
    chores.once("watch_sockets", sockets.watch)
    every(settings.jwt.keys_poll_seconds, "follow_keys", lambda: follow_keys(domain, sockets))
    foreign = identity.foreign
    if foreign is not None:
        chores.once("fetch_issuer_keys", lambda: follow_issuer(foreign))
        every(ISSUER_SECONDS, "fetch_issuer_keys", lambda: follow_issuer(foreign))
    every(FORGET_SECONDS, "forget_successors", lambda: sessions.forget_successors(now()))
    every(NOTE_SECONDS, "note_passwords", sessions.note_passwords)
    every(PURGE_ATTEMPTS_SECONDS, "purge_attempts", lambda: attempts.purge(now()))
    every(PURGE_SECONDS, "purge_sessions", lambda: sessions.purge(now()))
    every(PURGE_SECONDS, "purge_invitations", lambda: invitations.purge(now()))
    every(PURGE_SECONDS, "purge_key_digests", lambda: identity.purge(now()))
    chores.once("learn_hash_costs", lambda: _learn_hash_costs(domain))
    every(PURGE_SECONDS, "learn_hash_costs", lambda: _learn_hash_costs(domain))
    if domain.redis is not None:
        every(REDIS_SECONDS, "ask_whatomate_redis", domain.redis.probe)
    every(PURGE_SECONDS, "purge_tickets", lambda: identity.purge_tickets(now()))


async def _learn_hash_costs(domain: Domain) -> None:
    """Make a failed sign-in take as long as the costliest stored hash: else its time would reveal known e-mails."""
    cost = await domain.store.highest_password_cost()
    if cost is not None:
        domain.passwords.learn(cost)
