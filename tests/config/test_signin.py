"""The settings of signing in and up."""

from __future__ import annotations

import pytest

from authcore.accounts.invitations import INVITATION_SECONDS, Registration
from authcore.store.attempt_rows import AttemptLimits
from config.settings import Settings
from tests.config.loading import load, problems_of


def test_the_defaults_are_those_of_the_domain() -> None:
    settings = load()
    assert AttemptLimits(**settings.signin.model_dump()) == AttemptLimits()
    assert settings.registration == Registration.OPEN.value
    assert settings.invitation.seconds == INVITATION_SECONDS


def test_a_setting_and_a_mode_have_the_same_values() -> None:
    for mode in Registration:
        assert load({"GATEWAY_REGISTRATION": mode}).registration == mode


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("GATEWAY_REGISTRATION", "invited", "should be 'open', 'invite' or 'closed'"),
        ("GATEWAY_SIGNIN_FREE_FAILURES", "0", "should be greater than or equal to 1"),
        ("GATEWAY_SIGNIN_HOLD_SECONDS", "60", "should be less than or equal to 10"),
        ("GATEWAY_SIGNIN_DELAY_SECONDS", "901", "901 is more than GATEWAY_SIGNIN_DELAY_MAX_SECONDS, 900"),
        (
            "GATEWAY_PASSWORD_NETWORK_WORKERS",
            "3",
            "3 is more than GATEWAY_PASSWORD_WORKERS, 2; 0 gives a network half",
        ),
        ("GATEWAY_LIMIT_HOSTED_PER_NETWORK", "257", "257 is more than GATEWAY_LIMIT_HOSTED, 256"),
        (
            "GATEWAY_LIMIT_HOSTED_WAITING_PER_NETWORK",
            "1025",
            "1025 is more than GATEWAY_LIMIT_HOSTED_WAITING, 1024",
        ),
        ("GATEWAY_INVITATION_SECONDS", "1", "should be greater than or equal to 60"),
    ],
)
def test_a_value_that_cannot_be_is_refused(name: str, value: str, problem: str) -> None:
    (said,) = problems_of({name: value})
    assert said.startswith(f"{name}: ")
    assert problem in said


def test_no_hold_means_refused_at_once() -> None:
    assert Settings.model_validate({"signin": {"hold_seconds": 0}}).signin.hold_seconds == 0
