"""A route file that says ``default`` means the upstream of GATEWAY_UPSTREAM_URL, which is called `upstream`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.settings import Settings
from gateway.assembly.plan_warnings import plan_warnings
from tests.config.planning import planned, problems

if TYPE_CHECKING:
    from pathlib import Path

REFERRED = """
upstreams:
  far: {url: "http://far:1", failover: [NAME]}
  near: {url: "http://near:1", failover: NAME}
routes:
  - {name: a, match: {path: /a}, auth: public, upstream: NAME}
  - {name: b, match: {path: /b}, auth: public}
  - {name: c, match: {path: /c}, auth: public, upstream: far}
  - {name: d, match: {path: /d}, auth: public, upstream: near}
"""
DEFINED = """
upstreams:
  NAME: {url: "http://u", connections: 7}
routes:
  - {name: a, match: {path: /a}, auth: public, upstream: NAME}
  - {name: b, match: {path: /b}, auth: public}
"""


@pytest.mark.parametrize(("text", "lines"), [(REFERRED, (3, 4, 6)), (DEFINED, (3, 5))])
def test_the_former_name_means_the_same_plan_and_is_warned_of(
    tmp_path: Path, text: str, lines: tuple[int, ...]
) -> None:
    present = planned(tmp_path, text.replace("NAME", "upstream"))
    former = planned(tmp_path, text.replace("NAME", "default"))
    assert former.upstreams == present.upstreams
    assert former.routes == present.routes
    assert {route.entry.upstream for route in former.routes} <= {"upstream", "far", "near"}
    assert present.former == ()
    assert former.former == tuple(f"{tmp_path}/routes.yaml:{line}" for line in lines)
    settings = Settings.model_validate({"upstream": {"url": "http://u"}})
    (first, *_) = plan_warnings(former, settings)
    assert first == (
        f"{tmp_path}/routes.yaml:{lines[0]}: `default` is called `upstream` now, as in log and metrics; write that"
    )


def test_a_file_with_both_names_is_refused(tmp_path: Path) -> None:
    both = "upstreams:\n  upstream: {url: 'http://a'}\n  default: {url: 'http://b'}\n"
    assert problems(tmp_path, both) == [
        "routes.yaml:3: upstreams.default: is the former name of `upstream`, which is there as well; keep one"
    ]


def test_a_mistake_below_the_former_name_keeps_its_line(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "upstreams:\n  default:\n    url: 'http://a'\n    connections: 0\n")
    assert problem.startswith("routes.yaml:4: upstreams.upstream.connections: ")


@pytest.mark.parametrize(
    "text", ["[]", "upstreams: []", "routes: {}", "routes: [1]", "upstreams: {default: 1}"]
)
def test_a_file_of_another_form_is_refused_as_ever(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text)


def test_an_upstream_that_takes_the_place_of_the_settings_is_warned_of(tmp_path: Path) -> None:
    settings = Settings.model_validate({"upstream": {"url": "http://u"}})
    same = planned(tmp_path, DEFINED.replace("NAME", "upstream"))
    assert list(plan_warnings(same, settings)) == []
    other = planned(tmp_path, DEFINED.replace("NAME", "upstream").replace("http://u", "http://other"))
    (warning,) = plan_warnings(other, settings)
    assert warning.startswith("upstream `upstream` of the route file takes the place of GATEWAY_UPSTREAM_URL")


def test_an_upstream_with_the_name_of_the_gateways_own_application_is_warned_of(tmp_path: Path) -> None:
    plan = planned(tmp_path, DEFINED.replace("NAME", "gateway"))
    (warning,) = [one for one in plan_warnings(plan, Settings()) if "gateway" in one]
    assert warning.startswith("upstream `gateway`: log and metrics call the gateway's own application so")
