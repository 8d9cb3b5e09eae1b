"""Sign-in states: good where they were made, and nowhere else."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authcore.accounts.sso.states import BINDING, SignIn, SignInStates
from authcore.errors import SsoStateRejected

CALLBACK = "https://gateway.test/api/auth/sso/google/callback"
NOW = 1_800_000_000.0
STATES = SignInStates([b"the secret", b"the secret before"])


def begun(states: SignInStates = STATES, row: UUID | None = None) -> tuple[str, SignIn]:
    binding = states.new_binding()
    return binding, states.begin(binding, row or uuid4(), CALLBACK, NOW)


def test_a_state_tells_its_provider_and_gives_the_same_secrets_again() -> None:
    row = uuid4()
    binding, sign_in = begun(row=row)
    found = STATES.read(sign_in.state, ["x", binding], CALLBACK, NOW + 599)
    assert found == sign_in
    assert found.provider_id == row
    assert abs(found.begun_at - NOW) < 0.001
    assert 43 <= len(found.verifier) <= 128  # RFC 7636 section 4.1
    assert BINDING.fullmatch(binding)
    assert sign_in.state not in repr(sign_in)
    assert sign_in.verifier not in repr(sign_in)


def test_a_rotated_secret_verifies_what_it_made_and_makes_nothing() -> None:
    binding, sign_in = begun(SignInStates([b"the secret before"]))
    assert STATES.read(sign_in.state, [binding], CALLBACK, NOW) == sign_in
    binding, sign_in = begun()
    with pytest.raises(SsoStateRejected):
        SignInStates([b"the secret before"]).read(sign_in.state, [binding], CALLBACK, NOW)


@given(st.text(max_size=200))
def test_no_text_is_a_state(text: str) -> None:
    binding, _ = begun()
    with pytest.raises(SsoStateRejected):
        STATES.read(text, [binding, text], CALLBACK, NOW)


@given(st.integers(0, 95), st.sampled_from("ABCabc012-_"))
def test_a_letter_that_is_another_makes_another_state(place: int, letter: str) -> None:
    binding, sign_in = begun()
    bent = sign_in.state[:place] + letter + sign_in.state[place + 1 :]
    if bent == sign_in.state:
        return
    with pytest.raises(SsoStateRejected):
        STATES.read(bent, [binding], CALLBACK, NOW)


def test_another_browser_callback_or_secret_makes_another_state() -> None:
    binding, sign_in = begun()
    for states, bindings, callback in (
        (STATES, [STATES.new_binding()], CALLBACK),
        (STATES, [], CALLBACK),
        (STATES, ["", "x", binding[:-1], binding + "A"], CALLBACK),
        (STATES, [binding], CALLBACK.replace("google", "custom")),
        (STATES, [binding], CALLBACK.replace("gateway.test", "evil.test")),
        (SignInStates([b"another"]), [binding], CALLBACK),
    ):
        with pytest.raises(SsoStateRejected):
            states.read(sign_in.state, bindings, callback, NOW)


def test_two_sign_ins_of_one_browser_share_nothing() -> None:
    binding, row = STATES.new_binding(), uuid4()
    first, second = (STATES.begin(binding, row, CALLBACK, NOW) for _ in range(2))
    for name in ("state", "nonce", "verifier", "challenge", "digest"):
        assert getattr(first, name) != getattr(second, name)
