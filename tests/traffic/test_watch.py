"""The watch: what it makes of outcomes and time, for the endpoints that requests are sent to; and their slow start."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from gateway.traffic.balance import LeastRequests, RoundRobin
from gateway.traffic.health import HealthPolicy
from gateway.traffic.outcomes import ANSWERED, RESET, TIMED_OUT
from gateway.traffic.outliers import EjectionPolicy
from gateway.traffic.watch import Watch, WatchPolicy
from gateway.wire.endpoint import Authority, Endpoint
from tests.support.peers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.traffic.balance import Balancer

POLICY = WatchPolicy(EjectionPolicy(failures=2, max_percent=50), panic_percent=0, slow_start_seconds=10.0)
REFUSED = ConnectionRefusedError(111, "Connection refused")


class Stage:
    """A watch over endpoints, with a clock of its own."""

    def __init__(self, *weights: int, policy: WatchPolicy = POLICY) -> None:
        self.now = 100.0
        self.endpoints = [
            Endpoint(Authority("127.0.0.1", 9000 + place, weight=weight), "127.0.0.1")
            for place, weight in enumerate(weights)
        ]
        self.watch = Watch("app", policy, lambda: self.now)
        self.watch.take(self.endpoints)

    def fail(self, place: int, outcome: int = RESET, status: int = 0, times: int = 2) -> None:
        for _ in range(times):
            self.watch.observe(self.endpoints[place], outcome, status, self.now)

    def available(self) -> list[int]:
        return [place for place, endpoint in enumerate(self.endpoints) if endpoint.available]


@pytest.fixture
def events() -> Iterator[list[Any]]:
    with capture_logs() as logged:
        yield logged


@pytest.mark.parametrize(
    ("outcome", "status", "fails"),
    [
        (RESET, 0, True),
        (TIMED_OUT, 0, True),
        (ANSWERED, 502, True),
        (ANSWERED, 504, True),
        (ANSWERED, 500, False),
        (ANSWERED, 404, False),
        (ANSWERED, 200, False),
    ],
)
async def test_outcomes_that_count_as_failures(outcome: int, status: int, fails: bool) -> None:
    stage = Stage(1, 1)
    stage.fail(0, outcome, status)
    assert stage.available() == ([1] if fails else [0, 1])
    stage.watch.close()


async def test_an_endpoint_is_suspect_from_its_first_failure_to_its_next_success() -> None:
    stage = Stage(1, 1)
    one = stage.endpoints[0]
    stage.fail(0, times=1)
    assert (one.suspect, one.available) == (True, True)
    stage.watch.observe(one, ANSWERED, 200, stage.now)
    assert not one.suspect
    stage.fail(0, times=1)
    assert one.available, "the row began anew"


async def test_an_ejection_ends_by_itself_when_its_time_is_up() -> None:
    stage = Stage(1, 1, policy=WatchPolicy(EjectionPolicy(failures=2, base_seconds=0.05)))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    stage.watch = Watch("app", WatchPolicy(EjectionPolicy(failures=2, base_seconds=0.05)), loop.time)
    stage.watch.take(stage.endpoints)
    stage.now = begun
    stage.fail(0)
    assert stage.available() == [1]
    async with asyncio.timeout(PATIENCE):
        while stage.available() != [0, 1]:
            await asyncio.sleep(0.01)
    assert loop.time() - begun >= 0.05


async def test_dials_that_fail_are_logged_with_their_error_and_eject(events: list[Any]) -> None:
    stage = Stage(1, 1)
    one, other = stage.endpoints
    for _ in range(2):
        stage.watch.unreached(one, REFUSED, stage.now, True)
    stage.watch.unreached(other, REFUSED, stage.now, True)
    assert stage.available() == [1]
    logged = [(line["event"], line["endpoint"]) for line in events]
    assert logged == [
        ("endpoint_unreachable", one.name),
        ("endpoint_ejected", one.name),
        ("endpoint_unreachable", other.name),
        ("endpoint_not_ejected", other.name),
    ], "each once a minute, but for changes, of which each is logged"
    assert events[0]["error"] == str(REFUSED)
    stage.watch.reached(one, stage.now)
    assert stage.available() == [0, 1]
    assert events[-1]["event"] == "endpoint_returned"
    stage.watch.close()


async def test_an_endpoint_of_a_family_that_leads_nowhere_is_passed_over_in_silence(
    events: list[Any],
) -> None:
    stage = Stage(1, 1)
    stage.watch.unreached(stage.endpoints[0], OSError("no route"), stage.now, False)
    assert (stage.available(), events) == ([1], [])
    stage.watch.close()


async def test_an_endpoint_without_requests_is_not_watched() -> None:
    stage = Stage(0, 1, 1)
    stage.watch.unreached(stage.endpoints[0], REFUSED, stage.now, True)
    assert stage.available() == [0, 1, 2]
    stage.fail(1)
    assert stage.available() == [0, 2], "one of two, not of three"
    stage.watch.close()


async def test_what_is_heard_of_an_endpoint_that_has_gone_changes_nothing() -> None:
    stage = Stage(1, 1, 1)
    gone = stage.endpoints.pop()
    stage.watch.take(stage.endpoints)
    stage.watch.observe(gone, RESET, 0, stage.now)
    stage.watch.unreached(gone, REFUSED, stage.now, True)
    gone.suspect = True
    stage.watch.reached(gone, stage.now)
    stage.watch.observe(gone, ANSWERED, 200, stage.now)
    assert stage.available() == [0, 1]


async def test_terms_that_change_leave_what_is_known() -> None:
    stage = Stage(1, 1)
    stage.fail(0)
    stage.watch.configure(WatchPolicy(EjectionPolicy(failures=9), slow_start_seconds=3.0))
    assert stage.available() == [1]
    stage.now += 1
    stage.watch.settle()
    assert stage.available() == [0, 1]
    assert (stage.endpoints[0].since, stage.endpoints[0].slow_start) == (101.0, 3.0)


# -- slow start ---------------------------------------------------------------------------------------------------


def picked(balancer: Balancer, now: float, number: int = 3000) -> Counter[str]:
    """Return how often each endpoint is picked, each request having ended before the next."""
    names: Counter[str] = Counter()
    for _ in range(number):
        endpoint = balancer.pick(now, ())
        assert endpoint is not None
        names[endpoint.name] += 1
    return names


@pytest.mark.parametrize("kind", [LeastRequests, RoundRobin])
async def test_the_share_of_one_that_is_back_grows_to_what_it_should_be(
    kind: type[LeastRequests | RoundRobin],
) -> None:
    stage = Stage(1, 1, 1)
    stage.fail(0)
    stage.now += 1
    stage.watch.settle()
    balancer = kind(stage.endpoints, Random(1).random)  # noqa: S311 -- repeatable
    shares = [picked(balancer, stage.now + at)[stage.endpoints[0].name] / 3000 for at in (0, 2.5, 5, 10)]
    assert shares == sorted(shares)
    assert shares[0] < 0.06
    assert 0.3 < shares[-1] < 0.37


async def test_a_watch_that_is_closed_checks_no_endpoint_that_its_name_finds_later() -> None:
    """A request that waited for a name when its upstream was removed finds the addresses all the same."""
    stage = Stage(1, policy=WatchPolicy(health=HealthPolicy("/")))
    stage.watch.begin()
    stage.watch.close()
    stage.watch.take(Stage(1, 1).endpoints)
    checks = [task for task in asyncio.all_tasks() if task.get_name().startswith("check ")]
    assert not [task for task in checks if not task.cancelling()]


async def test_an_endpoint_in_its_slow_start_is_picked_where_there_is_no_other() -> None:
    stage = Stage(1, 1)
    stage.fail(0)
    stage.now += 1
    stage.watch.settle()
    one, other = stage.endpoints
    other.available = False
    for kind in (LeastRequests, RoundRobin):
        assert picked(kind(stage.endpoints, Random(1).random), stage.now, 50) == {one.name: 50}  # noqa: S311 -- repeatable
