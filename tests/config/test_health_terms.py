"""Terms of health: what a route file leaves out is as the settings say, and nonsense is named with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from config.groups.health import EjectionEntry, HealthEntry, statuses
from config.health_checks import health_doubts
from config.route_plan import read_plan
from gateway.traffic.health import HealthPolicy
from gateway.traffic.outliers import EjectionPolicy
from tests.config.loading import load, problems_of
from tests.config.planning import planned, problems

if TYPE_CHECKING:
    from pathlib import Path

CHECK, EJECTION = "GATEWAY_UPSTREAM_HEALTH_", "GATEWAY_UPSTREAM_EJECTION_"
ROUTE = "routes: [{name: all, match: {path: /*}, auth: public, upstream: a}]"


def test_nothing_is_checked_without_a_path_and_ejections_are_on() -> None:
    upstream = load().upstream
    assert upstream.checks(None, ours=True) is None
    assert upstream.ejections(None) == EjectionEntry()


def test_the_defaults_of_the_settings_are_those_of_the_policies() -> None:
    entry, policy = HealthEntry(path="/ready"), HealthPolicy("/ready")
    names = ("interval_seconds", "jitter_percent", "timeout_seconds", "rise", "fall")
    assert [getattr(entry, name) for name in names] == [getattr(policy, name) for name in names]
    assert statuses(entry.statuses) == policy.statuses
    ejection, terms = EjectionEntry(), EjectionPolicy()
    names = ("connect_failures", "failures", "base_seconds", "max_seconds", "max_percent")
    assert [getattr(ejection, name) for name in names] == [getattr(terms, name) for name in names]
    assert statuses(ejection.statuses) == terms.statuses


def test_the_settings_are_of_the_one_service_and_the_default_of_all_others(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(
        "upstreams:\n"
        "  a: {url: 'http://a', health: {path: /up, statuses: 204, rise: 1}, ejection: {failures: 3}}\n"
        "  b: {url: 'http://b'}\n"
        "  upstream: {url: 'http://c'}\n" + ROUTE
    )
    settings = load(
        {
            "GATEWAY_ROUTES": str(path),
            f"{CHECK}PATH": "/ready?deep=1",
            f"{CHECK}HOST": "app.example",
            f"{CHECK}BODY": "ok",
            f"{CHECK}STATUSES": "200, 300-302",
            f"{CHECK}FALL": "7",
            f"{EJECTION}FAILURES": "9",
            f"{EJECTION}MAX_SECONDS": "30",
        }
    )
    plan = read_plan(settings)
    assert plan is not None
    upstream = settings.upstream
    ours = upstream.checks(None, ours=True)
    assert ours == HealthEntry(
        path="/ready?deep=1", host="app.example", body="ok", statuses=("200", "300-302"), fall=7
    )
    a, b, default = (plan.upstreams[name] for name in ("a", "b", "upstream"))
    assert upstream.checks(a.health, ours=False) == HealthEntry(
        path="/up", statuses=("204",), rise=1, fall=7
    ), "host and body are the other service's"
    assert upstream.checks(b.health, ours=False) is None
    assert upstream.checks(default.health, ours=True) == ours
    assert upstream.ejections(a.ejection) == EjectionEntry(failures=3, max_seconds=30)
    assert upstream.ejections(b.ejection) == EjectionEntry(failures=9, max_seconds=30)


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (("204",), {204}),
        (("200-203",), {200, 201, 202, 203}),
        (("200-200", "599"), {200, 599}),
        (("201-203", "202-204"), {201, 202, 203, 204}),
    ],
)
def test_statuses_are_single_ones_and_ranges(words: tuple[str, ...], numbers: set[int]) -> None:
    assert statuses(HealthEntry(path="/", statuses=words).statuses) == numbers


@pytest.mark.parametrize(
    "words", ["ok", "99", "600", "2xx", "200-", "-200", "200-100", "200-600", "100", "199-300", ""]
)
def test_what_is_no_status_of_an_answer_is_refused(words: str) -> None:
    assert len(problems_of({f"{CHECK}STATUSES": words})) == 1


@pytest.mark.parametrize("words", ["404", "499-503", "200"])
def test_a_callers_mistake_ejects_no_endpoint(words: str) -> None:
    (problem,) = problems_of({f"{EJECTION}STATUSES": words})
    assert "callers who make mistakes would eject endpoints" in problem
    with pytest.raises(ValidationError):
        EjectionEntry(statuses=(words,))


@pytest.mark.parametrize("path", ["ready", "/a b", "/a#b", "/\u00e9", "/a\r\nX: y", ""])
def test_a_path_is_one_that_a_request_can_have(path: str) -> None:
    with pytest.raises(ValidationError):
        HealthEntry(path=path)


@pytest.mark.parametrize("host", ["a b", "a/b", "http://a", "a:b", "a\r\nX: y", ""])
def test_a_host_is_one_that_a_request_can_have(host: str) -> None:
    with pytest.raises(ValidationError):
        HealthEntry(path="/", host=host)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {f"{CHECK}PATH": "/", f"{CHECK}TIMEOUT_SECONDS": "6"},
            f"{CHECK}TIMEOUT_SECONDS: 6 is more than the interval, 5; a check has to end before the next one begins",
        ),
        (
            {f"{EJECTION}BASE_SECONDS": "61"},
            f"{EJECTION}BASE_SECONDS: 61, the length of the first ejection, is more than max_seconds, 60",
        ),
        (
            {f"{EJECTION}MAX_PERCENT": "100"},
            (
                "GATEWAY_UPSTREAM_PANIC_PERCENT: 30 and 100, the most that may be ejected, are more than 100 together: "
                "ejections alone would begin panic, which uses the ejected endpoints; lower one of them"
            ),
        ),
        (
            {f"{CHECK}BODY": "ok"},
            f"{CHECK}BODY: has no effect without {CHECK}PATH; set that, or leave this out",
        ),
    ],
)
def test_nonsense_in_the_settings_is_named(settings: dict[str, str], problem: str) -> None:
    assert problems_of(settings) == [problem]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (f"{EJECTION}MAX_PERCENT", "0", "should be greater than or equal to 1"),
        (f"{CHECK}RISE", "0", "should be greater than or equal to 1"),
        (f"{CHECK}INTERVAL_SECONDS", "0", "should be greater than or equal to 0.05"),
        (f"{CHECK}JITTER_PERCENT", "101", "should be less than or equal to 100"),
    ],
)
def test_terms_have_bounds(name: str, value: str, words: str) -> None:
    (problem,) = problems_of({name: value})
    assert problem.startswith(f"{name}: {words}")


def test_nonsense_in_a_route_file_has_its_line_and_is_judged_together_with_the_settings(
    tmp_path: Path,
) -> None:
    text = f"""\
        upstreams:
          a:
            url: [http://a, http://b]
            health:
              path: /ready
              timeout_seconds: 5
            ejection:
              max_percent: 80
            panic_percent: 21
        {ROUTE}
        """
    refused = problems(
        tmp_path,
        text,
        upstream={"url": "http://u", "health_interval_seconds": 4.0, "ejection_base_seconds": 99.0},
    )
    begin = "routes.yaml:{}: upstream a: {}: "
    assert [problem.partition(" is ")[0].partition(", the")[0] for problem in refused] == [
        begin.format(6, "health.timeout_seconds") + "5",
        begin.format(7, "ejection.base_seconds") + "99",
        begin.format(9, "panic_percent") + "21 and 80",
    ]
    assert "the interval, 4;" in refused[0]


def test_a_health_block_without_a_path_or_with_an_unknown_word_is_refused(tmp_path: Path) -> None:
    text = f"""\
        upstreams:
          a: {{url: http://a, health: {{rise: 1}}, ejection: {{percent: 9}}}}
        {ROUTE}
        """
    assert problems(tmp_path, text)[:2] == [
        "routes.yaml:2: upstreams.a.health.path: is missing",
        "routes.yaml:2: upstreams.a.ejection.percent: is no key of this place",
    ]


@pytest.mark.parametrize(
    ("urls", "percent", "doubted"), [(2, 50, False), (2, 49, True), (3, 33, True), (1, 1, False)]
)
def test_a_share_that_is_less_than_one_endpoint_is_doubted(
    tmp_path: Path, urls: int, percent: int, doubted: bool
) -> None:
    names = ", ".join(f"http://h{number}" for number in range(urls))
    text = f"""\
        upstreams:
          a: {{url: [{names}], ejection: {{max_percent: {percent}}}}}
        {ROUTE}
        """
    plan = planned(tmp_path, text)
    found = list(health_doubts(plan, load()))
    assert bool(found) is doubted
    if doubted:
        assert f"{percent} percent of {urls} endpoints, rounded down, are none" in found[0]
        assert f"{-(-100 // urls)} or more" in found[0]
