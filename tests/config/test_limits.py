"""Rate limits as operators write them: rates, limits of a route file, and the settings for all routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.limit_checks import all_limits, limit_doubts, names_for
from config.limits import LimitEntry
from config.rates import LONGEST_SECONDS, MOST_UNITS, Rate
from config.settings import Settings
from gateway.assembly.limits import Limiting, terms_of
from gateway.assembly.plan_warnings import plan_warnings
from tests.config.loading import load, problems_of
from tests.config.planning import planned, problems

if TYPE_CHECKING:
    from pathlib import Path

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
NAMED = """
limits:
  net: {key: network, rate: 10/s burst 20}
  few: {key: [user, route], concurrency: 2}
routes:
  - {name: a, auth: required, match: {path: /a}, limits: [net, few], cost: 20}
  - {name: b, auth: public, match: {path: /b}}
  - {name: c, auth: required, match: {path: /c}, limits: []}
  - {name: d, auth: optional, match: {path: /d}}
"""


@given(
    count=st.integers(1, MOST_UNITS),
    number=st.integers(1, 31),
    unit=st.sampled_from(sorted(UNITS)),
    burst=st.none() | st.integers(1, MOST_UNITS),
)
def test_a_rate_is_what_it_says(count: int, number: int, unit: str, burst: int | None) -> None:
    text = f"{count}/{number}{unit}" + ("" if burst is None else f" burst {burst}")
    assert Rate.parse(text) == Rate(count, number * UNITS[unit], burst or count)
    assert Rate.parse(f"  {text.replace(' ', '   ')} ") == Rate.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "10",
            "10/",
            "/s",
            "0/s",
            "-1/s",
            "10/0s",
            "10/w",
            "10/S",
            "1e3/s",
            "1.5/s",
            "10/s burst",
            "10 / s",
        ),
        *(
            "10/s burst 0",
            "10/s burst -1",
            "10/s burst 5 burst 6",
            "\u0661/s",
            "10/32d",
            f"{MOST_UNITS + 1}/s",
            f"1/s burst {MOST_UNITS + 1}",
            "9/s\0",
        ),
    ],
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="should"):
        Rate.parse(text)
    assert Rate.parse("1/31d").seconds == LONGEST_SECONDS


def test_rates_of_the_settings_are_lists_and_refused_by_name() -> None:
    settings = load({"GATEWAY_LIMITS_NETWORK": "10/s burst 20, 100/m", "GATEWAY_LIMITS_USER": "5/h"})
    found = all_limits(settings, None)
    assert found["network"].rates == (Rate(10, 1, 20), Rate(100, 60, 100))
    assert found["user"].rates == (Rate(5, 3600, 5),)
    assert set(found) == {"network", "user"}
    [problem] = problems_of({"GATEWAY_LIMITS_API_KEY": "5 per second"})
    assert problem.startswith("GATEWAY_LIMITS_API_KEY")
    assert "should be a count per s, m, h or d" in problem


def test_every_problem_of_a_limit_has_its_line(tmp_path: Path) -> None:
    assert problems(
        tmp_path,
        """\
        limits:
          empty: {key: user}
          what: {key: person, rate: 1/s}
          rate: {key: user, rate: [1/s, fast]}
          burst: {key: user, rate: [1/s, 2/m], burst: 3}
          twice: {key: user, rate: 1/s burst 2, burst: 3}
          alone: {key: [all, user], rate: 1/s}
          same: {key: [user, user], rate: 1/s}
          few: {key: user, concurrency: 0}
        routes:
          - {name: a, auth: public, match: {path: /a}, limits: [empty], cost: 0}
        """,
    ) == [
        "routes.yaml:2: limits.empty: should have `rate` or `concurrency`",
        (
            "routes.yaml:3: limits.what.key[0]: Input should be 'network', 'user', 'api_key', 'organization', 'route' "
            "or 'all'"
        ),
        (
            "routes.yaml:4: limits.rate.rate[1]: should be a count per s, m, h or d, such as 100/s, 30/10m or 100/s "
            "burst 200"
        ),
        "routes.yaml:5: limits.burst: `burst` belongs to one `rate`; of several, write each as 100/s burst 200",
        "routes.yaml:6: limits.twice: `burst` belongs to one `rate`; of several, write each as 100/s burst 200",
        "routes.yaml:7: limits.alone: `key` names each part once, and `all` stands alone",
        "routes.yaml:8: limits.same: `key` names each part once, and `all` stands alone",
        "routes.yaml:9: limits.few.concurrency: Input should be greater than or equal to 1",
        "routes.yaml:11: routes[0].cost: Input should be greater than or equal to 1",
    ]


def test_a_limit_that_there_is_not_or_never_grants_is_refused(tmp_path: Path) -> None:
    assert problems(
        tmp_path,
        """\
        limits:
          net: {key: network, rate: 10/s burst 20}
        hosted_limits: [nothing]
        routes:
          - {name: a, auth: required, match: {path: /a}, limits: [net], cost: 21}
          - {name: b, auth: required, match: {path: /b}, limits: [user, other]}
        """,
    ) == [
        (
            "routes.yaml:5: route a: `cost` 21 is more than the limit net ever grants at once, 20; raise its burst, or "
            "lower the cost"
        ),
        "routes.yaml:6: route b: no limit 'user'; set GATEWAY_LIMITS_USER, or define it in `limits`",
        "routes.yaml:6: route b: no limit 'other'; there are net",
        "routes.yaml:3: hosted_limits: no limit 'nothing'; there are net",
    ]


def test_a_cost_above_a_limit_of_the_settings_is_refused_too(tmp_path: Path) -> None:
    text = "routes: [{name: a, auth: required, match: {path: /a}, cost: 6}]"
    [problem] = problems(tmp_path, text, limits={"user": "5/h"})
    assert "`cost` 6 is more than the limit user ever grants at once, 5" in problem


def test_routes_have_their_own_limits_or_those_of_the_settings(tmp_path: Path) -> None:
    limits = {"network": "1/s", "user": "1/s"}
    plan = planned(tmp_path, NAMED, limits=limits)
    values = {"upstream": {"url": "http://u"}, "limits": limits}
    for public, of_b in ((False, ()), (True, ("network",))):
        settings = Settings.model_validate({**values, "limits": {**limits, "public": public}})
        found = {
            route.entry.name: names_for(settings, route.entry.limits, public=route.entry.auth == "public")
            for route in plan.routes
        }
        assert found == {"a": ("net", "few"), "b": of_b, "c": (), "d": ("network", "user")}


def test_a_limit_that_nothing_names_is_warned_of(tmp_path: Path) -> None:
    text = NAMED + "\nhosted_limits: [net]\n"
    settings = Settings.model_validate({"upstream": {"url": "http://u"}})
    assert [one for one in plan_warnings(planned(tmp_path, text), settings) if "limit" in one] == []
    text = text.replace("limits: [net, few]", "limits: [net]")
    [warning] = [one for one in plan_warnings(planned(tmp_path, text), settings) if "limit" in one]
    assert warning == "no route names the limit few; give a route `limits: [few]`, or leave the limit out"


def test_words_of_a_limit_that_have_no_effect_are_warned_of(tmp_path: Path) -> None:
    text = """
    limits:
      few: {key: user, concurrency: 2, store_away: closed}
      net: {key: network, rate: 9/s, store_away: closed}
      keys: {key: [api_key, route], rate: 9/s}
    routes:
      - {name: a, auth: public, match: {path: /a}, limits: [few, net, keys]}
      - {name: b, auth: optional, match: {path: /b}, limits: [keys]}
    """

    def warnings(**limits: str) -> list[str]:
        settings = Settings.model_validate({"upstream": {"url": "http://u"}, "limits": limits})
        return [one for one in plan_warnings(planned(tmp_path, text), settings) if "limit" in one]

    [few, net, keys] = warnings()
    assert few.startswith("limit few: `store_away` has no effect without `rate`")
    assert net.startswith("limit net: `store_away` has no effect without a store; set GATEWAY_LIMITS_URL")
    assert "route a: the limit keys counts API keys, and a public route reads none" in keys
    assert warnings(url="redis://redis") == [few, keys]


def test_settings_of_limits_and_quotas_that_have_no_effect_are_warned_of() -> None:
    named = {"GATEWAY_QUOTA_KEY_DAY": "5", "GATEWAY_QUOTA_ORGANIZATION_MONTH": "7"}
    environment = {**named, "GATEWAY_LIMITS_STORE_AWAY": "closed"}
    found = dict(limit_doubts(load(environment)))
    assert found.keys() == environment.keys()
    assert "GATEWAY_QUOTAS=on" in found["GATEWAY_QUOTA_KEY_DAY"]
    assert "GATEWAY_LIMITS_URL" in found["GATEWAY_LIMITS_STORE_AWAY"]
    store = {"GATEWAY_LIMITS_URL": "redis://redis"}
    assert not [*limit_doubts(load({**environment, **store, "GATEWAY_QUOTAS": "on"}))]
    assert not [*limit_doubts(load({}))]


@given(
    units=st.integers(1, 1000),
    burst=st.integers(1, 1000),
    concurrency=st.integers(1, 1000),
    replicas=st.integers(1, 20),
    processes=st.integers(1, 8),
)
def test_the_shares_of_all_processes_are_the_whole_or_little_more(
    units: int, burst: int, concurrency: int, replicas: int, processes: int
) -> None:
    entry = LimitEntry.model_validate(
        {"key": ["user"], "rate": [f"{units}/h"], "burst": burst, "concurrency": concurrency}
    )
    settings = Settings.model_validate({"limits": {"replicas": replicas}})
    terms, shares = terms_of(entry, settings, processes, 1), replicas * processes
    [(share, seconds, most)] = terms.rates
    assert (round(share * shares, 6), seconds) == (units, 3600)
    assert burst <= most * shares < burst + shares
    assert concurrency <= terms.concurrency * shares < concurrency + shares


def test_a_share_grants_what_the_dearest_route_costs(tmp_path: Path) -> None:
    settings = Settings.model_validate({"upstream": {"url": "http://u"}, "limits": {"replicas": 10}})
    limiting = Limiting(settings, processes=2)
    limiting.planned(planned(tmp_path, NAMED)).settle()
    [window] = limiting.registry.now["net"].windows
    assert (window.units * 20, window.burst) == (10, 20)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "redis://:hunter2@redis:6379/0",
            "redis://redis",
            "redis://[::1]:6379",
            "unix:///run/redis.sock?db=2",
        ),
        "rediss://user:hunter2@redis/1?ssl_ca_certs=/dev/null&ssl_cert_reqs=required&ssl_check_hostname=False",
        *("redis+cluster://:hunter2@redis:6379", "rediss+cluster://redis?ssl_cert_reqs=none"),
        "redis+sentinel://user:hunter2@one:26379,two/service/1",
    ],
)
def test_the_store_of_limits_is_named_by_a_url(url: str) -> None:
    store = load({"GATEWAY_LIMITS_URL": url}).limits.url
    assert store is not None
    assert store.get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://:hunter2@redis/0", "should be redis://"),
        ("redis://:hunter2@redis:port/0", "should be redis://"),
        ("redis://:hunter2@:6379/0", "should be redis://"),
        ("redis://:hunter2@redis:70000/0", "should be redis://"),
        ("unix://", "should be redis://"),
        ("redis+sentinel://:hunter2@one:port/service", "should be redis://"),
        ("redis+sentinel://:hunter2@one:26379,/service", "should be redis://"),
        ("redis+sentinel://:hunter2@one,two:70000/service", "should be redis://"),
        ("redis+sentinel://:hunter2@one,:26379/service", "should be redis://"),
        ("redis+sentinel://:hunter2@::1/service", "should be redis://"),
        ("redis+sentinel://:hunter2@one", "redis+sentinel:// should name the service"),
        ("redis+sentinel://:hunter2@one/service/zero", "the database should be a number"),
        ("redis+sentinel://:hunter2@one/service?db=1", "after ? should stand only db"),
        ("redis+cluster://:hunter2@redis/1", "a cluster has no database but 0"),
        ("redis://:hunter2@redis/0?socket_timeout=60", "after ? should stand only db"),
        (
            "redis://:hunter2@redis/0?ssl_cert_reqs=none",
            "ssl_ca_certs, ssl_cert_reqs and ssl_check_hostname belong",
        ),
        ("rediss://:hunter2@redis/0?ssl_cert_reqs=hunter2", "ssl_cert_reqs should be one of"),
        ("rediss://:hunter2@redis/0?ssl_check_hostname=off", "ssl_check_hostname should be true"),
    ],
)
def test_a_url_of_a_store_that_cannot_be_used_is_refused_before_anything_begins(
    url: str, problem: str
) -> None:
    (found,) = problems_of({"GATEWAY_LIMITS_URL": url})
    assert found.startswith(f"GATEWAY_LIMITS_URL: {problem}"), found
    assert "hunter2" not in found
