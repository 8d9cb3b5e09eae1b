"""Holds: several limits of one request, all or none, by any combination of keys."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authcore.principal import ANONYMOUS, AuthMethod, Principal
from gateway.limits.buckets import Window
from gateway.limits.keys import CallerKeys, key_of, network_key
from gateway.limits.limit import Limit, RouteLimits
from gateway.limits.limit_reservation import LimitReservation
from gateway.limits.refusal import ConcurrencyExceeded, LimitExceeded

PARTS: Final = ("network", "user", "api_key", "organization", "route")
ADDRESSES: Final = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")


def caller(number: int) -> Principal:
    """One of a few callers: two users, two organizations, with and without a key."""
    if number == 0:
        return ANONYMOUS
    key = UUID(int=number) if number & 4 else None
    method = AuthMethod.API_KEY if key else AuthMethod.JWT
    return Principal(method, UUID(int=number & 1), UUID(int=number & 2), key_id=key)


def ask(route: RouteLimits, address: str, principal: Principal, now: float) -> bool:
    hold = LimitReservation(route, CallerKeys(address), now)
    try:
        hold.enter()
        hold.settle(principal, now)
    except LimitExceeded:
        return False
    finally:
        hold.release()
    return True


def state(limits: list[Limit], now: float) -> list[dict[bytes, list[float]]]:
    return [
        {
            bucket.key: owed
            for bucket in limit.buckets.every()
            if any(owed := [max(drained - now, 0.0) for drained in bucket.drained]) or bucket.active
        }
        for limit in limits
    ]


terms = st.tuples(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=3, unique=True).map(tuple),
    st.sampled_from([1, 2, 4]),
)


@given(
    terms=st.lists(terms, min_size=1, max_size=4),
    asked=st.lists(
        st.tuples(st.sampled_from(ADDRESSES), st.integers(0, 7), st.sampled_from("ab"), st.integers(1, 2)),
        max_size=30,
    ),
)
def test_a_request_takes_of_every_limit_or_of_none(
    terms: list[tuple[tuple[str, ...], int]], asked: list[tuple[str, int, str, int]]
) -> None:
    """Against the plainest reading: a count for each limit and key; nothing drains."""
    limits = [
        Limit(f"l{n}", parts, [Window(burst, 2.0**30, burst)]) for n, (parts, burst) in enumerate(terms)
    ]
    counts: list[dict[bytes, int]] = [{} for _ in limits]
    for address, number, name, cost in asked:
        principal, now = caller(number), 100.0
        met = {
            at: key_of(limit.parts, network_key(address), name, None if limit.early else principal)
            for at, limit in enumerate(limits)
            if limit.early or principal.key_id is not None or "api_key" not in limit.parts
        }
        may = all(counts[at].get(key, 0) + cost <= terms[at][1] for at, key in met.items())
        before = state(limits, now)
        assert ask(RouteLimits(name, limits, cost=cost), address, principal, now) is may
        if may:
            for at, key in met.items():
                counts[at][key] = counts[at].get(key, 0) + cost
        else:
            assert state(limits, now) == before
        assert [
            {key: round(owed[0] / limit.windows[0].interval) for key, owed in found.items()}
            for limit, found in zip(limits, state(limits, now), strict=True)
        ] == counts


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.25, 5.0])
def test_units_of_the_networks_limit_are_given_back_whole_however_long_the_verdicts_took(
    seconds: float,
) -> None:
    network = Limit("net", ("network",), [Window(100, 1, 100)])
    user = Limit("each", ("user",), [Window(1, 1e9, 1)])
    route, principal = RouteLimits("r", [network, user]), caller(1)
    assert ask(route, "192.0.2.1", principal, 0.0)
    holds = [LimitReservation(route, CallerKeys("192.0.2.1"), 10.0) for _ in range(100)]
    for hold in holds:
        hold.enter()
    for hold in holds:
        with pytest.raises(LimitExceeded):
            hold.settle(principal, 10.0 + seconds)
    assert network.left(network.buckets.every()[0], 0, 10.0 + seconds)[0] == 100


def test_a_hold_settles_once_whatever_is_asked_again() -> None:
    user = Limit("each", ("user",), [Window(1, 1e9, 5)])
    hold = LimitReservation(RouteLimits("r", [user]), CallerKeys("192.0.2.1"), 0.0)
    for _ in range(3):
        hold.enter()
        hold.settle(caller(1), 0.0)
    assert user.admitted == 1


@given(
    events=st.lists(st.sampled_from(["begin", "end", "flow", "fail"]), max_size=40), counts_long=st.booleans()
)
def test_requests_at_work_never_pass_the_bound_and_none_is_lost(events: list[str], counts_long: bool) -> None:
    few = Limit("few", ("user",), [], concurrency=3, counts_long=counts_long)
    never = Limit("never", ("user",), [Window(1, 1e9, 1)])
    route, failing = RouteLimits("r", [few]), RouteLimits("f", [few, never], cost=2)
    at_work: list[tuple[LimitReservation, bool]] = []
    for event in events:
        counted = sum(1 for _, flows in at_work if counts_long or not flows)
        if event == "begin":
            hold = LimitReservation(route, CallerKeys("192.0.2.1"), 0.0)
            if counted == 3:
                with pytest.raises(ConcurrencyExceeded):
                    hold.settle(caller(1), 0.0)
            else:
                hold.settle(caller(1), 0.0)
                at_work.append((hold, False))
        elif event == "fail":
            with pytest.raises(LimitExceeded):
                LimitReservation(failing, CallerKeys("192.0.2.1"), 0.0).settle(caller(1), 0.0)
        elif at_work:
            hold, _ = at_work.pop(0)
            if event == "flow":
                hold.flows_on()
                at_work.append((hold, True))
            else:
                hold.release()
                hold.release()
        active = sum(bucket.active for bucket in few.buckets.every())
        assert active == sum(1 for _, flows in at_work if counts_long or not flows) <= 3
    for hold, _ in at_work:
        hold.release()
    assert all(bucket.active == 0 for bucket in few.buckets.every())


@given(
    parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=5, unique=True).map(tuple),
    two=st.lists(
        st.tuples(st.sampled_from(ADDRESSES), st.integers(0, 7), st.sampled_from(["a", "ab", "b"])),
        min_size=2,
        max_size=2,
    ),
)
def test_different_callers_have_different_keys(
    parts: tuple[str, ...], two: list[tuple[str, int, str]]
) -> None:
    def of(address: str, number: int, name: str) -> tuple[object, ...]:
        principal, network = caller(number), network_key(address)
        values = {
            "network": network,
            "user": principal.user_id or network,
            "organization": principal.organization_id or network,
            "api_key": principal.key_id or network,
            "route": name,
        }
        return tuple(values[part] for part in parts)

    keys = [key_of(parts, network_key(address), name, caller(number)) for address, number, name in two]
    assert (keys[0] == keys[1]) is (of(*two[0]) == of(*two[1]))


@given(asked=st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=10))
def test_the_keys_of_the_same_lines_follow_route_and_caller(asked: list[tuple[int, bool]]) -> None:
    routes = [
        RouteLimits(name, [Limit("net", ("network", "route"), []), Limit("each", ("user", "route"), [])])
        for name in ("a", "b")
    ]
    keys, network = CallerKeys("192.0.2.1"), network_key("192.0.2.1")
    callers = [caller(number) for number in range(8)]
    for number, other in asked:
        route, principal = routes[other], callers[number]
        assert keys.early(route) == [key_of(("network", "route"), network, route.route, None)]
        assert keys.late(route, principal) == [key_of(("user", "route"), network, route.route, principal)]


def test_a_limit_in_shadow_takes_only_what_it_would_grant_and_the_others_go_on() -> None:
    shadow = Limit("dark", ("user",), [Window(1, 1e9, 1)], shadow=True)
    real = Limit("real", ("user",), [Window(1, 1e9, 3)])
    route, principal = RouteLimits("r", [shadow, real]), Principal(AuthMethod.JWT, uuid4(), uuid4())
    assert [ask(route, "192.0.2.1", principal, 0.0) for _ in range(4)] == [True, True, True, False]
    assert (shadow.admitted, shadow.shadowed, shadow.refused) == (1, 3, 0)
    assert (real.admitted, real.shadowed, real.refused) == (3, 0, 1)
