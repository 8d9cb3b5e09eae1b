"""CSRF tokens: equal in header and cookie, and the session's own."""

from __future__ import annotations

from uuid import uuid4

import pytest

from gateway.csrf import CsrfTokens
from gateway.faults import CsrfRefused

SECRET, OTHER = b"a-secret-of-the-tests-and-of-nobody-else", b"another-secret-of-the-tests-and-of-nobody"
TOKENS, SESSION = CsrfTokens([SECRET]), uuid4()


def test_a_sessions_token_is_good_in_that_session_alone() -> None:
    token = TOKENS.mint(SESSION).encode()
    TOKENS.check([token], [token], SESSION)
    with pytest.raises(CsrfRefused):
        TOKENS.check([token], [token], uuid4())


def test_a_csrf_token_is_the_same_in_every_process_and_fits_a_cookie() -> None:
    assert TOKENS.mint(SESSION) == CsrfTokens([SECRET]).mint(SESSION) != CsrfTokens([OTHER]).mint(SESSION)
    assert TOKENS.mint(SESSION).replace("-", "").replace("_", "").isalnum()
    assert len(TOKENS.mint(SESSION)) == 32


def test_a_rotated_secret_goes_on_checking() -> None:
    old = TOKENS.mint(SESSION).encode()
    CsrfTokens([OTHER, SECRET]).check([old], [old], SESSION)
    with pytest.raises(CsrfRefused):
        CsrfTokens([OTHER]).check([old], [old], SESSION)


@pytest.mark.parametrize("session", [SESSION, None])
def test_header_and_cookie_must_be_there_once_and_equal(session: object) -> None:
    assert session is SESSION or session is None
    token = TOKENS.mint(SESSION).encode()
    for sent, kept in (
        ([], [token]),
        ([b""], [token]),
        ([b""], []),
        ([], []),
        ([token], []),
        ([token, token], [token]),
        ([token[:-1]], [token]),
        ([token + b" "], [token]),
        ([token.upper()], [token]),
        ([b"\xff"], [token]),
        ([b"x"], [b"y"]),
        ([b"x"], [token, b"y"]),
        ([b""], [b"", token]),
    ):
        for own_page in (False, True):
            with pytest.raises(CsrfRefused):
                TOKENS.check(sent, kept, session, own_page=own_page)


def test_of_whatomates_session_equality_is_all_that_can_be_asked() -> None:
    TOKENS.check([b"random"], [b"random"], None)
    with pytest.raises(CsrfRefused):
        TOKENS.check([b"random"], [b"random"], SESSION)


def test_of_several_cookies_the_sessions_token_counts_and_from_a_page_of_this_host_any() -> None:
    token, other = TOKENS.mint(SESSION).encode(), TOKENS.mint(uuid4()).encode()
    for kept in ([token, other], [other, token], [b"planted", token]):
        TOKENS.check([token], kept, SESSION)
        stale = next(one for one in kept if one != token)
        with pytest.raises(CsrfRefused):
            TOKENS.check([stale], kept, SESSION)
        TOKENS.check([stale], kept, SESSION, own_page=True)
    with pytest.raises(CsrfRefused):  # of one there is no doubt, whatever page asks
        TOKENS.check([other], [other], SESSION, own_page=True)


def test_of_several_cookies_nobody_can_tell_which_is_that_of_whatomates_session() -> None:
    for sent in (b"one", b"two"):
        with pytest.raises(CsrfRefused):
            TOKENS.check([sent], [b"one", b"two"], None)
        TOKENS.check([sent], [b"one", b"two"], None, own_page=True)


def test_no_secret_is_in_the_repr() -> None:
    assert repr(TOKENS) == "CsrfTokens(secrets=1)"
