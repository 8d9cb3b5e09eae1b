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
        ("{url: ['http://a', 'http://a']}", "http://a is there twice; give it once, in `endpoints`"),
        ("{url: ['http://a', 'http://A:80/']}", "http://a is there twice, as http://A:80/; give it once"),
        (
            "{url: ['https://[::1]:443', 'https://[::1]']}",
            "https://[::1]:443 is there twice, as https://[::1];",
        ),
        ("{url: ['unix:/a', 'unix:/b', 'unix:/a', 'unix:/a']}", "unix:/a is there twice"),
        ("{url: 'http://a', hash_by: 'header:X-User-ID'}", "use `user` or `organization`"),
        ("{url: 'http://a', hash_by: 'header:x_org_unit'}", "x_org_unit is an identity header"),
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
    "urls",
    [
        "['http://a', 'http://a:8080']",
        "['http://a', 'http://b']",
        "['unix:/a', 'unix:/A']",
        "['http://a', 'https://a']",
    ],
)
def test_different_places_are_no_repetition(tmp_path: Path, urls: str) -> None:
    planned(tmp_path, f"upstreams: {{hub: {{url: {urls}, hash_by: 'header:X-Users'}}}}\n{ROUTES}")


def test_a_route_has_no_key_by_a_header_that_is_removed(tmp_path: Path) -> None:
    text = "upstreams: {hub: {url: 'http://a'}}\n" + ROUTES.replace(
        "auth: public", "auth: required, hash_by: 'header:X-Team'"
    )
    planned(tmp_path, text)
    assert problems(tmp_path, text, header={"user_id": "X-Team"}) == [
        (
            "routes.yaml:2: route all: X-Team is an identity header, and a client's is removed; "
            "use `user` or `organization`"
        )
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
