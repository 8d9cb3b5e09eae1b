"""Endpoint: which used connections an upstream is expected to have kept, by what it did with others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.endpoint import AT_ONCE_SECONDS, Authority, Endpoint

SERVED = st.integers(1, 50)
AT_ONCE = st.floats(0, AT_ONCE_SECONDS / 2)


def endpoint() -> Endpoint:
    return Endpoint(Authority("10.0.0.1", 80), "10.0.0.1")


@given(SERVED, AT_ONCE, st.booleans())
def test_a_close_behind_an_answer_is_expected_behind_as_many_again(
    served: int, unused: float, doubtful: bool
) -> None:
    upstream = endpoint()
    upstream.has_ended(served, unused)
    assert not upstream.keeps(served, unused, doubtful=doubtful)
    assert upstream.keeps(served - 1, unused, doubtful=doubtful) or served == 1
    assert not upstream.keeps(served, unused, doubtful=doubtful), "fewer answers prove nothing"
    assert upstream.keeps(served + 1, unused, doubtful=doubtful)
    assert upstream.keeps(served, unused, doubtful=doubtful), "more of them do"


@given(SERVED, AT_ONCE, st.booleans())
def test_a_connection_that_stays_open_for_a_while_is_kept(served: int, unused: float, doubtful: bool) -> None:
    upstream = endpoint()
    upstream.has_ended(served, unused)
    assert upstream.keeps(served, AT_ONCE_SECONDS, doubtful=doubtful)
    assert upstream.keeps(served, unused, doubtful=doubtful)


@given(SERVED, AT_ONCE)
def test_the_end_of_a_connection_that_was_long_unused_says_nothing(served: int, unused: float) -> None:
    upstream = endpoint()
    upstream.has_ended(served, AT_ONCE_SECONDS + 0.1)
    upstream.has_ended(0, unused)
    assert upstream.ends_after is None


@given(AT_ONCE)
def test_only_the_first_answer_of_an_unknown_upstream_is_in_doubt(unused: float) -> None:
    assert not endpoint().keeps(1, unused, doubtful=True)
    assert endpoint().keeps(1, unused, doubtful=False)
    assert endpoint().keeps(2, unused, doubtful=True)
    assert endpoint().keeps(0, unused, doubtful=True), "a connection that was never asked"
