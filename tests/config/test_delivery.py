"""Traffic policies as written: what they may say, and what is refused or doubted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from config.delivery_checks import delivery_doubts
from config.health_checks import ejection_doubts
from config.settings import Settings
from gateway.assembly.plan_warnings import plan_warnings
from tests.config.loading import GOOD, load, problems_of
from tests.config.planning import planned, problems

if TYPE_CHECKING:
    from pathlib import Path

FRAME = """\
upstreams:
  one: {url: "http://one", %s}
  two: {url: "http://two", %s}
routes:
  - {name: all, auth: public, match: {path: /*}, upstream: one, %s}
"""


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("[]", ()),
        ("off", ()),
        ("'off'", ()),
        ("503", ("503",)),
        ("reset", ("reset",)),
        ("[connect-failure, reset, 502, 503]", ("connect-failure", "reset", "502", "503")),
    ],
)
def test_causes_are_words_and_statuses(tmp_path: Path, written: str, read: tuple[str, ...]) -> None:
    plan = planned(tmp_path, FRAME % (f"retry: {{when: {written}}}", "failover: one", "retry: {attempts: 2}"))
    retry = plan.upstreams["one"].retry
    assert retry is not None
    assert retry.when == read


@pytest.mark.parametrize(
    "policy",
    [
        "retry: {when: [200]}",
        "retry: {when: [401]}",
        "retry: {when: [5xx]}",
        "retry: {when: [reset, off]}",
        "retry: {when: true}",
        "retry: {repeat: [POST]}",
        "retry: {attempts: 0}",
        "retry: {body_bytes: 100000000}",
        "retry: {budget_percent: 101}",
        "breaker: {requests: -1}",
        "breaker: {connections: 1}",
        "deadline_seconds: -1",
        "wait_requests: 0",
        "failover: []",
        "failover: nowhere",
        "failover: one",
        "failover: [two, two]",
        "failover: three",
    ],
)
def test_what_a_policy_may_not_say_is_refused_with_its_line(tmp_path: Path, policy: str) -> None:
    text = (FRAME % (policy, "deadline_seconds: 1", "deadline_seconds: 2")).replace(
        "routes:\n", '  three: {url: "http://three", identity: none}\nroutes:\n'
    )
    assert all(problem.startswith("routes.yaml:2: ") for problem in problems(tmp_path, text))


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        ("when: [reset, resets]", "'resets' should be stale, connect-failure, reset or a status"),
        ("when: [503, 401]", "'401' should be"),
        ("when: [off, reset]", "'off' should be"),
        ("repeat: [safe, POST]", "'POST' should be safe, idempotent, idempotency-key"),
    ],
)
def test_the_one_word_of_several_that_is_wrong_is_named(tmp_path: Path, policy: str, word: str) -> None:
    (problem,) = problems(tmp_path, FRAME % (f"retry: {{{policy}}}", "pending: 1", "credential: pass"))
    assert word in problem


def test_retries_of_which_the_budget_allows_none_are_doubtful(tmp_path: Path) -> None:
    none = "budget_percent: 0, budget_floor: 0"
    for policy, doubtful in (
        (f"when: reset, {none}", True),
        (f"when: stale, {none}", False),
        ("when: reset, budget_percent: 0", False),
        ("when: reset, budget_floor: 0", False),
    ):
        plan = planned(tmp_path, FRAME % (f"retry: {{{policy}}}", "pending: 1", "credential: pass"))
        found = list(plan_warnings(plan, Settings.model_validate({})))
        assert any("retry.budget_floor: 0, and a budget of 0" in text for text in found) == doubtful, policy


def test_a_routes_budget_is_its_upstreams(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, FRAME % ("pending: 1", "pending: 1", "retry: {budget_floor: 1}"))
    assert problem == "routes.yaml:5: routes[0].retry.budget_floor: is no key of this place"


def test_a_route_that_sends_nothing_again_needs_no_other_repeat_than_its_upstreams(tmp_path: Path) -> None:
    upstream = "retry: {when: reset, repeat: idempotent}"
    for policy, doubtful in (
        ("when: off", False),
        ("when: off, repeat: idempotent", True),
        ("when: stale", True),
    ):
        plan = planned(tmp_path, FRAME % (upstream, "pending: 1", f"retry: {{{policy}}}"))
        found = list(plan_warnings(plan, Settings.model_validate({})))
        assert any("retry.when: names no cause" in text for text in found) == doubtful, policy


@pytest.mark.parametrize(
    ("policy", "warning"),
    [
        ("retry: {when: reset, attempts: 1}", "retry.attempts: 1 is the first attempt"),
        ("retry: {try_timeout_seconds: 5}, deadline_seconds: 5", "retry.try_timeout_seconds: 5 is no less"),
        ("retry: {backoff_seconds: 9}", "retry.backoff_seconds: is more"),
        ("retry: {when: reset, repeat: idempotent, body_bytes: 0}", "retry.body_bytes: 0 stores"),
        ("retry: {repeat: idempotent}", "retry.when: names no cause"),
        ("retry: {try_timeout_seconds: 60}", "retry.try_timeout_seconds: 60 is no less than the timeout"),
        (
            "retry: {try_timeout_seconds: 5}, head_timeout_seconds: 5",
            "retry.try_timeout_seconds: 5 is no less than the timeout of the head, 5",
        ),
        ("retry: {when: off, try_timeout_seconds: 2}", "retry.try_timeout_seconds: 2 repeats nothing"),
        ("retry: {try_timeout_seconds: 1.0e-300}", "retry.try_timeout_seconds: 1e-300 seconds are over"),
        ("head_timeout_seconds: 1.0e-300", "head_timeout_seconds: 1e-300 seconds are over"),
        ("deadline_seconds: 0.0001", "deadline_seconds: 0.0001 seconds are over"),
    ],
)
@pytest.mark.parametrize("of_route", [False, True])
def test_what_is_doubtful_is_a_warning(tmp_path: Path, policy: str, warning: str, of_route: bool) -> None:
    parts = ("pending: 1", "pending: 1", policy) if of_route else (policy, "pending: 1", "credential: pass")
    plan = planned(tmp_path, FRAME % parts)
    found = list(plan_warnings(plan, Settings.model_validate({})))
    assert [text for text in found if warning in text]
    assert any("upstream two" in text for text in found)  # nothing leads there


def test_an_inherited_time_for_attempts_causes_no_warning(tmp_path: Path) -> None:
    plan = planned(
        tmp_path, FRAME % ("retry: {try_timeout_seconds: 2}", "failover: one", "retry: {when: off}")
    )
    settings = Settings.model_validate({"upstream": {"retry_try_timeout_seconds": 70}})
    assert not [text for text in plan_warnings(plan, settings) if "try_timeout" in text]


@pytest.mark.parametrize(
    ("url", "doubtful"),
    [("'http://one'", True), ("'http://ONE:80/'", True), ("['http://one', 'http://three']", False)],
)
def test_a_failover_to_the_same_address_causes_a_warning(tmp_path: Path, url: str, doubtful: bool) -> None:
    text = (FRAME % ("failover: two", "pending: 1", "credential: pass")).replace('"http://two"', url)
    found = list(plan_warnings(planned(tmp_path, text), Settings.model_validate({})))
    assert any("failover: two has no other URL" in one for one in found) == doubtful


@pytest.mark.parametrize(
    ("words", "doubtful"),
    [
        ("statuses: [500], failures: 0, connect_failures: 0", True),
        ("failures: 0", False),
        ("statuses: [500], connect_failures: 0", False),
    ],
)
def test_ejection_statuses_without_an_effect_cause_a_warning(
    tmp_path: Path, words: str, doubtful: bool
) -> None:
    plan = planned(tmp_path, FRAME % (f"ejection: {{{words}}}", "failover: one", "credential: pass"))
    found = list(plan_warnings(plan, Settings.model_validate({})))
    assert any("upstream one: ejection.statuses have no effect" in one for one in found) == doubtful


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"RETRY_TRY_TIMEOUT_SECONDS": "60"}, "RETRY_TRY_TIMEOUT_SECONDS"),
        ({"RETRY_WHEN": "off", "RETRY_TRY_TIMEOUT_SECONDS": "2"}, "RETRY_TRY_TIMEOUT_SECONDS"),
        ({"HEAD_TIMEOUT_SECONDS": "1e-300"}, "HEAD_TIMEOUT_SECONDS"),
        ({"EJECTION_STATUSES": "500", "EJECTION_FAILURES": "0"}, "EJECTION_STATUSES"),
    ],
)
def test_traffic_settings_without_an_effect_cause_a_warning(settings: dict[str, Any], name: str) -> None:
    loaded = load({**GOOD, **{f"GATEWAY_UPSTREAM_{key}": value for key, value in settings.items()}})
    ((setting, _),) = [*delivery_doubts(loaded), *ejection_doubts(loaded)]
    assert setting == f"GATEWAY_UPSTREAM_{name}"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"EJECTION_FAILURES": "0"},
        {"EJECTION_STATUSES": "500"},
        {"RETRY_WHEN": "reset", "RETRY_TRY_TIMEOUT_SECONDS": "2"},
        {"RETRY_TRY_TIMEOUT_SECONDS": "0", "DEADLINE_SECONDS": "0"},
    ],
)
def test_traffic_settings_with_an_effect_or_that_are_off_cause_no_warning(settings: dict[str, str]) -> None:
    loaded = load({**GOOD, **{f"GATEWAY_UPSTREAM_{key}": value for key, value in settings.items()}})
    assert [*delivery_doubts(loaded), *ejection_doubts(loaded)] == []


def test_an_upstream_that_stands_in_is_reached(tmp_path: Path) -> None:
    plan = planned(tmp_path, FRAME % ("failover: two", "pending: 1", "credential: pass"))
    assert not [text for text in plan_warnings(plan, Settings.model_validate({})) if "two" in text]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"RETRY_TRY_TIMEOUT_SECONDS": "5", "DEADLINE_SECONDS": "5"}, "RETRY_TRY_TIMEOUT_SECONDS"),
        ({"RETRY_BACKOFF_SECONDS": "5"}, "RETRY_BACKOFF_SECONDS"),
        ({"RETRY_WHEN": "reset", "RETRY_ATTEMPTS": "1"}, "RETRY_ATTEMPTS"),
        ({"WAIT_SECONDS": "9", "DEADLINE_SECONDS": "5"}, "WAIT_SECONDS"),
        ({"RETRY_WHEN": "reset,401"}, "RETRY_WHEN"),
        (
            {"RETRY_WHEN": "reset", "RETRY_BUDGET_PERCENT": "0", "RETRY_BUDGET_FLOOR": "0"},
            "RETRY_BUDGET_FLOOR",
        ),
        ({"HASH_BY": "header:x-user-id"}, "HASH_BY"),
        ({"HASH_BY": "header:X_Org_ID"}, "HASH_BY"),
        ({"RETRY_REPEAT": "POST"}, "RETRY_REPEAT"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], name: str) -> None:
    named = {f"GATEWAY_UPSTREAM_{key}": value for key, value in settings.items()}
    (problem,) = problems_of({**GOOD, **named})
    assert problem.startswith(f"GATEWAY_UPSTREAM_{name}: ")


def test_settings_name_causes_by_commas() -> None:
    upstream = load({**GOOD, "GATEWAY_UPSTREAM_RETRY_WHEN": "stale, reset,503"}).upstream
    assert upstream.retry_when == ("stale", "reset", "503")
    assert load({**GOOD, "GATEWAY_UPSTREAM_RETRY_WHEN": "off"}).upstream.retry_when == ()
