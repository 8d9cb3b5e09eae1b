"""Decision settings: the path that other proxies ask, and the addresses that may ask, go together."""

from __future__ import annotations

import pytest

from tests.config.loading import load, problems_of

TRUST = {"GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8"}


def test_decisions_are_off_by_default() -> None:
    assert load().decision.path == ""


def test_a_path_switches_them_on() -> None:
    assert load({"GATEWAY_DECISION_PATH": "/decisions", **TRUST}).decision.path == "/decisions"


def test_without_a_trusted_proxy_there_is_nobody_to_ask() -> None:
    (problem,) = problems_of({"GATEWAY_DECISION_PATH": "/decisions"})
    assert problem.startswith("GATEWAY_TRUSTED_PROXIES: required with GATEWAY_DECISION_PATH")


@pytest.mark.parametrize(
    "path", ["/", "decisions", "/decisions/", "/a//b", "/a b", "/a%2fb", "/..", "/a/..", "/a?b"]
)
def test_a_path_that_has_more_than_one_spelling_is_refused(path: str) -> None:
    (problem,) = problems_of({"GATEWAY_DECISION_PATH": path, **TRUST})
    assert problem.startswith("GATEWAY_DECISION_PATH: should be a path such as /decisions")


@pytest.mark.parametrize("path", ["/api", "/api/auth"])
def test_the_decision_path_hides_nothing_that_the_gateway_answers(path: str) -> None:
    (problem,) = problems_of({"GATEWAY_DECISION_PATH": path, **TRUST})
    assert problem == f"GATEWAY_DECISION_PATH: {path} would hide /api/auth, which the gateway answers"
