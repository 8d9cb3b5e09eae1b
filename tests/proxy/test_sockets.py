"""The watch over sockets: whom it suspects, how often it asks, and what it does while nobody answers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from authcore.authorize import AUTHENTICATED, PUBLIC, authorize
from authcore.errors import StoreUnavailable
from authcore.principal import ANONYMOUS, AuthMethod, Principal
from authcore.revocation import RevocationReason, Standings
from authcore.store.rows import Change
from gateway.proxy.sockets import BATCH, PUSHED_SECONDS, UNPUSHED_SECONDS, Socket, Sockets
from tests.config.loading import load

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = 1_800_000_000.0
ORGANIZATION = uuid4()


class Ended:
    """Tunnel of a socket, which stores how it was closed."""

    def __init__(self) -> None:
        self.said: tuple[int, str, str] | None = None

    def close(self, code: int, text: str, why: str) -> None:
        self.said = (code, text, why)


class Watch:
    """A watch over made-up sockets, and the store it asks."""

    def __init__(self, max_seconds: float = 1000) -> None:
        self.bad: dict[UUID | None, RevocationReason] = {}
        self.ends: dict[UUID | None, float] = {}
        self.asked: list[int] = []
        self.away = False
        self.pushed = True
        self.sockets = Sockets(
            self.standings,
            pushed=lambda: self.pushed,
            max_seconds=max_seconds,
            stream_max_seconds=2 * max_seconds,
        )

    async def standings(self, principals: Sequence[Principal], now: float) -> Standings:
        assert now >= NOW
        self.asked.append(len(principals))
        if self.away:
            raise StoreUnavailable
        return Standings(
            {place: self.bad[one.user_id] for place, one in enumerate(principals) if one.user_id in self.bad},
            {
                place: self.ends[one.user_id]
                for place, one in enumerate(principals)
                if one.user_id in self.ends
            },
        )

    def open(
        self,
        method: AuthMethod = AuthMethod.JWT,
        *,
        user: UUID | None = None,
        session: UUID | None = None,
        key: UUID | None = None,
        expires_at: float | None = None,
    ) -> tuple[Ended, Socket]:
        principal = Principal(
            method, user or uuid4(), ORGANIZATION, session_id=session, key_id=key, expires_at=expires_at
        )
        tunnel = Ended()
        socket = self.sockets.opened(tunnel, authorize(principal, AUTHENTICATED), NOW)
        assert socket is not None
        return tunnel, socket

    async def look(self, after: float = 0) -> None:
        await self.sockets.look(NOW + after, after)


async def test_a_socket_lasts_by_default_for_as_long_as_its_session_may() -> None:
    """Whatomate's pages ask once for a ticket when their socket closes, and idle ones have no access token then.

    So a shorter bound leaves a page that stands open without events until it is loaded again.
    """
    settings = load()
    watch = Watch(settings.ws.max_seconds)
    tunnel, _ = watch.open(AuthMethod.WS, session=uuid4())
    await watch.look(settings.token.session_seconds - 1)
    assert tunnel.said is None
    await watch.look(settings.ws.max_seconds + 1)
    assert tunnel.said is not None
    assert tunnel.said[:2] == (4401, "expired")


async def test_a_socket_is_looked_at_when_it_opens_and_then_when_something_changes() -> None:
    watch = Watch()
    user, session, key = uuid4(), uuid4(), uuid4()
    watch.open(user=user, session=session, key=key)
    await watch.look()
    await watch.look(1)
    assert watch.asked == [1]
    changes = [
        *(Change(rows=(row,)) for row in (user, session, key, ORGANIZATION)),
        Change(memberships=((user, uuid4()),)),
        Change(everything=True),
    ]
    for number, change in enumerate(changes, 2):
        watch.sockets.hear(change)
        await watch.look(1)
        assert watch.asked == [1] * number
    watch.sockets.hear(Change(rows=(uuid4(),), memberships=((uuid4(), ORGANIZATION),)))
    await watch.look(1)
    assert len(watch.asked) == 1 + len(changes)


async def test_a_storm_of_changes_is_one_question() -> None:
    watch = Watch()
    sockets = [watch.open()[1] for _ in range(2 * BATCH + 5)]
    for socket in sockets:
        for row in socket.rows:
            watch.sockets.hear(Change(rows=(row,)))
    await watch.look()
    assert sorted(watch.asked) == [5, BATCH, BATCH]
    watch.sockets.hear(Change(everything=True))
    await watch.look()
    assert len(watch.asked) == 6


async def test_a_revoked_callers_socket_is_closed_once_and_nobody_elses() -> None:
    watch = Watch()
    users = [uuid4() for _ in range(4)]
    tunnels = [watch.open(user=user)[0] for user in users]
    watch.bad = dict(
        zip(
            users,
            (RevocationReason.USER, RevocationReason.SESSION, RevocationReason.MEMBERSHIP),
            strict=False,
        )
    )
    await watch.look()
    await watch.look()
    assert [tunnel.said for tunnel in tunnels] == [
        (4401, "account disabled", "revoked"),
        (4401, "session ended", "revoked"),
        (4401, "no longer a member of the organization", "revoked"),
        None,
    ]
    assert len(watch.sockets) == 1
    assert watch.sockets.sockets.closed == {
        RevocationReason.USER: 1,
        RevocationReason.SESSION: 1,
        RevocationReason.MEMBERSHIP: 1,
        RevocationReason.KEY: 0,
        RevocationReason.TIME: 0,
    }


async def test_an_outage_closes_nothing_and_forgets_nobody() -> None:
    watch = Watch()
    user = uuid4()
    tunnel, _ = watch.open(user=user)
    watch.bad, watch.away = {user: RevocationReason.USER}, True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await watch.look()
    assert tunnel.said is None
    watch.away = False
    await watch.look()
    assert tunnel.said == (4401, "account disabled", "revoked")


@pytest.mark.parametrize(("pushed", "seconds"), [(True, PUSHED_SECONDS), (False, UNPUSHED_SECONDS)])
async def test_everybody_is_looked_at_now_and_then_more_often_when_nothing_is_told(
    pushed: bool, seconds: float
) -> None:
    watch = Watch()
    watch.pushed = pushed
    watch.open()
    await watch.look(seconds)
    await watch.look(2 * seconds - 0.1)
    assert watch.asked == [1]
    await watch.look(2 * seconds)
    assert watch.asked == [1, 1]


async def test_what_was_missed_is_looked_up_when_changes_are_heard_again() -> None:
    watch = Watch()
    watch.open()
    await watch.look()
    watch.sockets.begin_gap()
    watch.sockets.end_gap()
    await watch.look(1)
    assert watch.asked == [1, 1]


@pytest.mark.parametrize(("given", "until"), [(50, 50), (2000, 1000)])
async def test_an_end_that_a_row_was_given_counts_if_it_comes_first(given: float, until: float) -> None:
    watch = Watch()
    user = uuid4()
    tunnel, _ = watch.open(AuthMethod.API_KEY, user=user, key=uuid4())
    await watch.look()
    watch.ends[user] = NOW + given
    watch.sockets.hear(Change(rows=(user,)))
    await watch.look(1)
    await watch.look(until - 1)
    assert tunnel.said is None
    await watch.look(until)
    assert tunnel.said == (4401, "expired", "expired")


@pytest.mark.parametrize(
    ("method", "expires_at", "until"),
    [
        (AuthMethod.JWT, NOW + 10, 10),
        (AuthMethod.COOKIE, NOW + 10, 10),
        (AuthMethod.API_KEY, NOW + 10, 10),
        (AuthMethod.API_KEY, None, 100),
        (AuthMethod.JWT, NOW + 1000, 100),
        (AuthMethod.WS, NOW + 10, 100),  # a ticket opens, and no more
    ],
)
async def test_a_socket_lives_as_long_as_its_credential_and_the_setting_let_it(
    method: AuthMethod, expires_at: float | None, until: float
) -> None:
    watch = Watch(max_seconds=100)
    tunnel, _ = watch.open(method, expires_at=expires_at)
    await watch.look(until - 0.1)
    assert tunnel.said is None
    await watch.look(until)
    assert tunnel.said == (4401, "expired", "expired")


async def test_a_withdrawn_key_closes_what_tokens_opened() -> None:
    watch = Watch()
    tunnels = {
        method: watch.open(method)[0] for method in (AuthMethod.JWT, AuthMethod.WS, AuthMethod.API_KEY)
    }
    watch.sockets.withdraw()
    assert [method for method, tunnel in tunnels.items() if tunnel.said] == [AuthMethod.JWT, AuthMethod.WS]


async def test_nothing_is_kept_of_sockets_that_have_ended() -> None:
    watch = Watch()
    for _ in range(3 * BATCH):
        watch.sockets.ended(watch.open()[1])
    watch.sockets.ended(None)
    assert len(watch.sockets) == 0
    assert not watch.sockets._by_row  # noqa: SLF001 -- memory is the point
    assert len(watch.sockets._ends) <= BATCH + 1  # noqa: SLF001 -- likewise
    await watch.look()
    assert watch.asked == []


def test_a_socket_of_nobody_is_not_watched() -> None:
    watch = Watch()
    assert watch.sockets.opened(Ended(), authorize(ANONYMOUS, PUBLIC), NOW) is None
    assert watch.sockets.opened(Ended(), None, NOW) is None
    assert len(watch.sockets) == 0
