"""Health by active checks, slow start, and panic: the laws of health.py and availability.py."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.traffic.availability import Availability
from gateway.traffic.health import FIRST_SHARE, CheckedHealth, HealthPolicy, share
from gateway.traffic.outliers import Cause, Change, EjectionPolicy

POLICY = HealthPolicy("/ready", rise=2, fall=3)


def verdicts(*checks: bool) -> list[bool]:
    """The states after each check, which may have passed or not."""
    health = CheckedHealth()
    states = []
    for passed in checks:
        health.note(passed=passed, rise=POLICY.rise, fall=POLICY.fall)
        states.append(health.healthy)
    return states


def test_the_first_check_decides_alone() -> None:
    assert CheckedHealth().healthy, "an endpoint that nobody has checked is used"
    assert verdicts(False) == [False]
    assert verdicts(True, False, False) == [True, True, True]


def test_fall_failures_in_a_row_make_it_unhealthy_and_rise_passes_in_a_row_healthy() -> None:
    up, down = True, False
    checks = (up, down, down, up, down, down, down, up, down, up, up)
    assert verdicts(*checks) == [up, up, up, up, up, up, down, down, down, down, up]


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_health_is_as_the_plainest_reading_has_it(checks: list[bool], rise: int, fall: int) -> None:
    health = CheckedHealth()
    for number, passed in enumerate(checks, 1):
        changed = health.note(passed=passed, rise=rise, fall=fall)
        # The last run of `fall` failures, or of `rise` passes, decides; before the first of them, the first check.
        plain = checks[0]
        for end in range(1, number + 1):
            if fall <= end and not any(checks[end - fall : end]):
                plain = False
            if rise <= end and all(checks[end - rise : end]):
                plain = True
        assert health.healthy == plain
        assert not changed or health.healthy == passed


@given(st.floats(0, 1), st.integers(0, 100))
def test_intervals_differ_by_no_more_than_the_jitter(chance: float, jitter: int) -> None:
    policy = HealthPolicy("/", interval_seconds=10, jitter_percent=jitter)
    assert 10 - jitter / 10 - 1e-9 <= policy.pause(chance) <= 10 + jitter / 10 + 1e-9
    assert policy.pause(0.5) == 10


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 50))
def test_the_share_of_a_slow_start_grows_from_a_tenth_to_the_whole(one: int, more: int, seconds: int) -> None:
    first, second = share(5.0, 5.0 + one, seconds), share(5.0, 5.0 + one + more, seconds)
    assert FIRST_SHARE <= first <= second <= 1.0
    assert (second == 1.0) == (one + more >= seconds)


def test_half_way_through_its_slow_start_an_endpoint_has_half_its_weight() -> None:
    assert [share(10.0, at, 20.0) for at in (10.0, 11.0, 20.0, 29.0, 30.0)] == [0.1, 0.1, 0.5, 0.95, 1.0]
    assert share(10.0, 10.0, 0.0) == 1.0


# -- availability -------------------------------------------------------------------------------------------------


class Heard:
    """Listener to the events of an availability."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def ejection(self, change: Change) -> None:
        self.events.append(f"{change.name} {change.event}")

    def health(self, name: str, *, healthy: bool, failure: str) -> None:
        self.events.append(f"{name} {'healthy' if healthy else failure}")

    def panic(self, *, begins: bool, usable: int, of: int) -> None:
        self.events.append(f"panic {begins} {usable}/{of}")


def fleet(
    size: int, panic_percent: int = 50, max_percent: int = 100
) -> tuple[Availability, list[str], Heard]:
    heard = Heard()
    policy = EjectionPolicy(connect_failures=1, failures=2, max_percent=max_percent)
    availability = Availability(policy, panic_percent, heard)
    names = [f"e{number}" for number in range(size)]
    availability.follow(dict.fromkeys(names, 0), 0.0)
    return availability, names, heard


def available(availability: Availability) -> list[str]:
    return [name for name in availability.health if availability.is_available(name)]


def test_one_that_is_ejected_or_fails_its_checks_is_not_available() -> None:
    availability, (one, two, three, four), heard = fleet(4)
    availability.checked(one, "status 500", POLICY, 1.0)
    availability.failed(two, Cause.CONNECT, 1.0)
    assert available(availability) == [three, four]
    assert heard.events == [f"{one} status 500", f"{two} ejected"]


def test_when_too_few_are_left_all_are_used_until_enough_are_back() -> None:
    availability, names, heard = fleet(4)
    for name in names[:3]:
        availability.checked(name, "timeout", POLICY, 1.0)
    assert (availability.panic, available(availability)) == (True, names)
    assert heard.events[-1] == "panic True 1/4"
    for _ in range(2):
        availability.checked(names[0], "", POLICY, 2.0)
    assert (availability.panic, available(availability)) == (False, [names[0], names[3]])
    assert heard.events[-2:] == [f"{names[0]} healthy", "panic False 2/4"]


def test_without_a_share_for_panic_all_are_used_when_none_is_left() -> None:
    availability, names, _ = fleet(2, panic_percent=0)
    availability.checked(names[0], "timeout", POLICY, 1.0)
    assert available(availability) == [names[1]]
    availability.checked(names[1], "timeout", POLICY, 1.0)
    assert available(availability) == names


def test_while_one_priority_has_its_share_there_is_no_panic() -> None:
    availability, _, _ = fleet(0)
    first, spare = ["a", "b", "c"], ["d"]
    availability.follow({**dict.fromkeys(first, 0), **dict.fromkeys(spare, 1)}, 0.0)
    for name in first:
        availability.checked(name, "timeout", POLICY, 1.0)
    assert (availability.panic, available(availability)) == (False, spare)
    availability.checked("d", "timeout", POLICY, 1.0)
    assert (availability.panic, available(availability)) == (True, [*first, *spare])


def test_slow_start_is_reckoned_from_the_moment_when_nothing_speaks_against_an_endpoint_any_more() -> None:
    availability, (one, two), _ = fleet(2, panic_percent=0)
    availability.checked(one, "timeout", POLICY, 1.0)
    availability.failed(one, Cause.CONNECT, 1.5)
    availability.settle(2.5)
    assert availability.returned == {}, "its ejection is over, and it still fails its checks"
    for at in (3.0, 4.0):
        availability.checked(one, "", POLICY, at)
    assert availability.returned == {one: 4.0}
    availability.follow({two: 0, "new": 0}, 5.0)
    assert availability.returned == {"new": 5.0}, "one that joins others starts slowly, too"


def test_endpoints_that_are_checked_no_more_are_healthy_and_stay_ejected() -> None:
    availability, (one, two, three), _ = fleet(3)
    availability.checked(one, "timeout", POLICY, 1.0)
    availability.failed(two, Cause.CONNECT, 1.0)
    availability.trust(1.5)
    assert available(availability) == [one, three]


def test_a_check_of_an_endpoint_that_has_gone_changes_nothing() -> None:
    availability, (one, two), heard = fleet(2)
    availability.follow({two: 0}, 1.0)
    availability.checked(one, "timeout", POLICY, 1.0)
    assert (available(availability), heard.events) == ([two], [])


class Availabilities(RuleBasedStateMachine):
    """Law: somebody is available, and who is follows from ejections, checks and their number alone."""

    @initialize(size=st.integers(1, 5), panic=st.integers(0, 100), most=st.integers(1, 100))
    def begin(self, size: int, panic: int, most: int) -> None:
        self.availability, self.names, self.heard = fleet(size, panic, most)
        self.percent = panic
        self.now = 1.0

    @rule(number=st.integers(0, 4), failure=st.sampled_from(["", "timeout"]))
    def check(self, number: int, failure: str) -> None:
        self.availability.checked(self.names[number % len(self.names)], failure, POLICY, self.now)

    @rule(number=st.integers(0, 4), cause=st.sampled_from(list(Cause)))
    def fail(self, number: int, cause: Cause) -> None:
        self.availability.failed(self.names[number % len(self.names)], cause, self.now)

    @rule(number=st.integers(0, 4))
    def work(self, number: int) -> None:
        name = self.names[number % len(self.names)]
        self.availability.connected(name, self.now)
        self.availability.answered(name, self.now)

    @rule(seconds=st.floats(0.1, 30))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.availability.settle(self.now)

    @rule(size=st.integers(1, 5))
    def move(self, size: int) -> None:
        self.names = [f"e{number}" for number in range(size)]
        self.availability.follow(dict.fromkeys(self.names, 0), self.now)

    @rule()
    def trust(self) -> None:
        self.availability.trust(self.now)

    @invariant()
    def they_are_as_the_laws_say(self) -> None:
        if not hasattr(self, "availability"):
            return
        one, size = self.availability, len(self.names)
        usable = [
            name for name in self.names if one.health[name].healthy and not one.outliers.is_ejected(name)
        ]
        panic = not usable or len(usable) < Fraction(self.percent * size, 100)
        assert available(one) == (self.names if panic else usable)
        assert one.usable == len(usable)
        said = [event for event in self.heard.events if event.startswith("panic")]
        assert bool(said and said[-1].startswith("panic True")) == panic, "each change is reported"
        assert all(name in usable or panic for name in available(one))


TestAvailabilities = Availabilities.TestCase


def test_ejections_are_counted_by_cause_and_so_are_those_that_the_share_forbids() -> None:
    availability, (one, two), _ = fleet(2)
    availability.failed(one, Cause.CONNECT, 1.0)
    availability.failed(two, Cause.RESET, 1.0)
    availability.failed(two, Cause.STATUS, 1.0)
    assert {cause for cause, number in availability.ejections.items() if number} == {Cause.CONNECT}
    assert {cause for cause, number in availability.withheld.items() if number} == {Cause.STATUS}
