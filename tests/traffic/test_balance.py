"""Balancers: shares as the weights are, the less loaded of two, turns, keys that stay, and none but the eligible."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gateway.traffic.balance import LeastRequests, RoundRobin, is_eligible
from gateway.traffic.cluster import BalancePolicy, Cluster
from gateway.traffic.hash_ring import HashRing
from gateway.traffic.outcomes import ANSWERED, TIMED_OUT
from gateway.wire.endpoint import Authority, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 100.0
KEYS = [b"room %d" % number for number in range(600)]


def draws(seed: int) -> Callable[[], float]:
    return random.Random(seed).random  # noqa: S311 -- no secret


def endpoint(port: int, weight: int = 1, zone: str = "", priority: int = 0) -> Endpoint:
    return Endpoint(Authority("10.0.0.1", port, None, weight, zone, priority), "10.0.0.1")


@st.composite
def fleets(
    draw: st.DrawFn, weights: st.SearchStrategy[int] | None = None, slow: tuple[float, ...] = (0.0,)
) -> list[Endpoint]:
    """Endpoints in any state, some of them in one of the `slow` starts."""
    fleet = []
    for port in range(1, draw(st.integers(1, 6)) + 1):
        one = endpoint(port, draw(st.integers(1, 5) if weights is None else weights))
        one.active = draw(st.integers(0, 4))
        one.available = draw(st.booleans())
        one.since, one.slow_start = NOW - 1, draw(st.sampled_from(slow))
        fleet.append(one)
    return fleet


def eligible(fleet: list[Endpoint], avoid: list[Endpoint]) -> list[Endpoint]:
    """The plainest reading."""
    return [one for one in fleet if one.available and one not in avoid]


@given(fleets(slow=(0.0, 10.0)), st.sets(st.integers(0, 5)), st.sampled_from([LeastRequests, RoundRobin]))
def test_an_eligible_endpoint_is_picked_if_there_is_one_and_no_other(
    fleet: list[Endpoint], avoided: set[int], kind: type[LeastRequests | RoundRobin]
) -> None:
    avoid = [one for place, one in enumerate(fleet) if place in avoided]
    may = eligible(fleet, avoid)
    assert [one for one in fleet if is_eligible(one, avoid)] == may
    for key in (None, b"key"):
        picked = HashRing(fleet).pick(key, avoid) if key else kind(fleet).pick(NOW, avoid)
        assert (picked in may) if may else picked is None


@given(fleets(st.just(1)))
def test_the_busiest_of_three_or_more_different_loads_is_never_picked(fleet: list[Endpoint]) -> None:
    may = eligible(fleet, [])
    picks = [LeastRequests(fleet).pick(NOW, ()) for _ in range(20)]
    busiest = [one for one in may if all(one.active > other.active for other in may if other is not one)]
    if len(may) > 1 and busiest:
        assert busiest[0] not in picks


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=2, max_size=2), st.integers())
def test_of_two_drawn_the_one_with_more_requests_for_its_weight_is_not_picked(
    pair: list[tuple[int, int]], seed: int
) -> None:
    fleet = [endpoint(port, weight) for port, (weight, _) in enumerate(pair, 1)]
    for one, (_, active) in zip(fleet, pair, strict=True):
        one.active = active
    picked = LeastRequests(fleet, draws(seed)).pick(NOW, ())
    assert picked is not None
    assert picked.active / picked.weight == min(one.active / one.weight for one in fleet)


def test_idle_endpoints_share_requests_as_their_weights_are() -> None:
    fleet = [endpoint(1, 1), endpoint(2, 2), endpoint(3, 5)]
    balancer = LeastRequests(fleet, draws(7))
    picked = Counter(one.weight for _ in range(8000) if (one := balancer.pick(NOW, ())) is not None)
    assert all(abs(picked[weight] - 1000 * weight) < 150 for weight in (1, 2, 5))


def test_shares_stay_as_the_weights_when_others_are_not_eligible() -> None:
    fleet = [endpoint(1, 1), endpoint(2, 3), *(endpoint(port, 50) for port in (3, 4))]
    for one in fleet[2:]:
        one.available = False
    balancer = LeastRequests(fleet, draws(7))
    picked = Counter(two.weight for _ in range(4000) if (two := balancer.pick(NOW, ())) is not None)
    assert set(picked) == {1, 3}
    assert abs(picked[1] - 1000) < 150


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.floats(0, 1, exclude_max=True))
def test_in_a_whole_round_each_endpoint_has_as_many_turns_as_its_weight(
    weights: list[int], begin: float
) -> None:
    fleet = [endpoint(port, weight) for port, weight in enumerate(weights, 1)]
    balancer = RoundRobin(fleet, lambda: begin)
    for _ in range(3):
        turns = Counter(balancer.pick(NOW, ()) for _ in range(sum(weights)))
        assert [turns[one] for one in fleet] == weights


def test_the_turns_of_a_heavy_endpoint_are_spread() -> None:
    fleet = [endpoint(1, 3), endpoint(2), endpoint(3)]
    balancer = RoundRobin(fleet, lambda: 0.0)
    row = [fleet.index(one) for _ in range(5) if (one := balancer.pick(NOW, ())) is not None]
    assert row == [0, 1, 0, 2, 0]


@given(st.lists(st.integers(1, 60_000), min_size=1, max_size=8, unique=True), st.integers(0, 7))
def test_when_an_endpoint_leaves_its_keys_alone_move_and_when_it_joins_keys_move_to_it_alone(
    ports: list[int], which: int
) -> None:
    fleet = [endpoint(port) for port in ports]
    leaver = fleet[which % len(fleet)]
    rest = [one for one in fleet if one is not leaver]
    whole, without = HashRing(fleet), HashRing(rest)
    for key in KEYS:
        before, after = whole.pick(key, ()), without.pick(key, ())
        assert after is before or before is leaver
        assert (after is None) == (not rest)
        assert whole.pick(key, [leaver]) is after, "to avoid one is as if it were not there"


def test_a_key_belongs_to_the_same_endpoint_in_every_process() -> None:
    def owners(ports: tuple[int, ...]) -> str:
        ring = HashRing([endpoint(port) for port in ports])
        picked = [ring.pick(key, ()) for key in KEYS]
        return "".join(str(one.authority.port) for one in picked if one is not None)

    assert owners((1, 2, 3)) == owners((3, 1, 2))
    assert owners((1, 2, 3))[:24] == "332332321222232211221313", "an upgrade of the gateway moves no key"


def test_keys_are_shared_as_the_weights_are() -> None:
    fleet = [endpoint(1, 1), endpoint(2, 1), endpoint(3, 2)]
    ring = HashRing(fleet)
    owners = Counter(ring.pick(b"%d" % number, ()) for number in range(20_000))
    assert [round(owners[one] / 5000, 0) for one in fleet] == [1, 1, 2]
    assert all(abs(owners[one] - 5000 * one.weight) < 1000 * one.weight for one in fleet)


# -- the cluster ---------------------------------------------------------------------------------------------------


def cluster_of(fleet: list[Endpoint], policy: BalancePolicy | None = None) -> Cluster:
    cluster = Cluster(policy, draws(1))
    cluster.take(fleet)
    return cluster


@given(fleets(st.integers(0, 2)), st.sampled_from([None, b"key"]), st.sets(st.integers(0, 5)))
def test_a_request_never_lacks_an_endpoint(
    fleet: list[Endpoint], key: bytes | None, avoided: set[int]
) -> None:
    avoid = [one for place, one in enumerate(fleet) if place in avoided]
    chosen = cluster_of(fleet).choose(NOW, key, avoid)
    used = [one for one in fleet if one.weight]
    if not used:
        assert chosen is None
        return
    assert chosen in used
    good = eligible(used, avoid)
    if good:
        assert chosen in good
    elif any(one not in avoid for one in used):
        assert chosen not in avoid


def test_a_cluster_without_endpoints_chooses_none_and_is_plain() -> None:
    cluster = Cluster()
    assert cluster.plain
    assert cluster.choose(NOW) is None


def test_a_cluster_is_plain_with_one_endpoint_that_nobody_observes() -> None:
    cluster = cluster_of([endpoint(1)])
    assert cluster.plain
    seen: list[tuple[Endpoint, int, int, float]] = []
    cluster.observe([lambda *outcome: seen.append(outcome)])
    assert not cluster.plain
    (one,) = cluster.endpoints
    cluster.observed(one, TIMED_OUT, 0, NOW)
    cluster.observed(one, ANSWERED, 200, NOW)
    cluster.observed(one, ANSWERED, 503, NOW)
    one.suspect = True
    cluster.observed(one, ANSWERED, 200, NOW)
    assert [outcome[1:3] for outcome in seen] == [(TIMED_OUT, 0), (ANSWERED, 503), (ANSWERED, 200)]
    cluster.observe([])
    assert cluster.plain
    cluster.take([endpoint(1), endpoint(2)])
    assert not cluster.plain


def test_a_lower_priority_is_used_while_it_has_one_that_is_eligible() -> None:
    fleet = [endpoint(1), endpoint(2), endpoint(3, priority=1), endpoint(4, priority=1)]
    cluster = cluster_of(fleet)
    assert {cluster.choose(NOW) for _ in range(50)} == set(fleet[:2])
    fleet[0].available = False
    assert {cluster.choose(NOW) for _ in range(50)} == {fleet[1]}
    assert {cluster.choose(NOW, b"%d" % number) for number in range(50)} == {fleet[1]}
    fleet[1].available = False
    assert {cluster.choose(NOW) for _ in range(50)} == set(fleet[2:])
    fleet[1].available = True
    assert {cluster.choose(NOW) for _ in range(50)} == {fleet[1]}


def test_the_own_zone_is_preferred_until_its_load_spills_over() -> None:
    near, far = [endpoint(port, zone="a") for port in (1, 2)], [endpoint(port, zone="b") for port in (3, 4)]
    cluster = cluster_of([*near, *far], BalancePolicy(zone="a", spill_over=3))
    for _ in range(6):
        chosen = cluster.choose(NOW)
        assert chosen in near
        assert chosen is not None
        chosen.active += 1
    assert [one.active for one in near] == [3, 3]
    beyond = Counter(cluster.choose(NOW) for _ in range(100))
    assert sum(beyond[one] for one in far) > 60, "they have fewer at work than those of the zone"
    near[0].active = 2
    assert cluster.choose(NOW) is near[0]
    near[0].available = near[1].available = False
    assert {cluster.choose(NOW) for _ in range(50)} == set(far)
    cluster.configure(BalancePolicy(zone="c"))
    assert cluster.choose(NOW) in far


def test_a_weight_of_zero_gets_no_requests() -> None:
    fleet = [endpoint(1), endpoint(2, weight=0)]
    cluster = cluster_of(fleet)
    for avoid in ([], [fleet[0]]):
        for fleet[0].available in (True, False):
            assert {cluster.choose(NOW, None, avoid) for _ in range(50)} == {fleet[0]}
            assert {cluster.choose(NOW, b"%d" % number, avoid) for number in range(50)} == {fleet[0]}
