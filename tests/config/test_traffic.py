"""Balancing in the route file: what contradicts itself is refused, and what is perhaps not meant is warned of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from config.settings import Settings
from config.traffic_checks import balance_doubts
from tests.config.planning import planned, problems

if TYPE_CHECKING:
    from pathlib import Path

ROUTES = "routes: [{name: all, match: {path: /*}, auth: public, upstream: hub}]\n"


@pytest.mark.parametrize(
    ("upstream", "problem"),
    [
        ("{}", "upstreams.hub: should have either `url` or `endpoints`"),
        (
            "{url: 'http://a', endpoints: [{url: 'http://b'}]}",
            "upstreams.hub: should have either `url` or `endpoints`",
        ),
        ("{endpoints: [{url: 'http://a', weight: -1}]}", "endpoints[0].weight: Input should be greater"),
        ("{endpoints: [{url: 'http://a', weight: 0}]}", "every weight is 0"),
        ("{endpoints: [{url: 'http://a'}, {url: 'http://a'}]}", "http://a is there twice"),
        ("{endpoints: [{url: 'http://a', colour: red}]}", "endpoints[0].colour: is no key of this place"),
        ("{url: 'http://a', balance: random}", "upstreams.hub.balance: Input should be 'least_requests'"),
        ("{url: 'http://a', hash_by: header}", "upstreams.hub.hash_by: should be user"),
        ("{url: 'http://a', hash_by: 'cookie:a b'}", "upstreams.hub.hash_by: should be user"),
        ("{url: 'http://a', zone_spill_over: 0}", "upstreams.hub.zone_spill_over: Input should be greater"),
    ],
)
def test_a_contradiction_is_named(tmp_path: Path, upstream: str, problem: str) -> None:
    found = problems(tmp_path, f"upstreams: {{hub: {upstream}}}\n{ROUTES}")
    assert len(found) == 1
    assert problem in found[0]
    assert found[0].startswith("routes.yaml:1")


def test_a_public_route_has_no_key_by_caller(tmp_path: Path) -> None:
    text = "upstreams: {hub: {url: 'http://a'}}\n" + ROUTES.replace(
        "auth: public", "auth: public, hash_by: user"
    )
    assert problems(tmp_path, text) == [
        "routes.yaml:2: route all: `user` needs a caller, and `auth: public` looks at no credential"
    ]


@pytest.mark.parametrize(
    ("upstream", "settings", "doubt"),
    [
        ("{endpoints: [{url: 'http://a', zone: x}]}", {}, ""),
        ("{endpoints: [{url: 'http://a', zone: x}]}", {"zone": "x"}, ""),
        ("{endpoints: [{url: 'http://a', zone: x}]}", {"zone": "y"}, "no endpoint is in the zone y"),
        ("{endpoints: [{url: 'http://a', zone: x}], zone: z}", {"zone": "x"}, "no endpoint is in the zone z"),
        ("{url: 'http://a'}", {"zone": "x"}, ""),
        ("{url: 'http://a', zone: x}", {}, "`zone` has no effect"),
    ],
)
def test_a_zone_without_endpoints_is_doubtful(
    tmp_path: Path, upstream: str, settings: dict[str, Any], doubt: str
) -> None:
    values = {"url": "http://u", **settings}
    plan = planned(tmp_path, f"upstreams: {{hub: {upstream}}}\n{ROUTES}", upstream=values)
    found = list(balance_doubts(plan, Settings.model_validate({"upstream": values})))
    assert len(found) == bool(doubt)
    assert doubt in "".join(found)
