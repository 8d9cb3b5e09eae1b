"""The gateway's cookies among all others: found by their exact name, taken out, and nothing else touched."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from authcore.errors import CredentialAmbiguous
from gateway.cookies import ACCESS, CSRF, MOST, MOST_TWINS, REFRESH, OurCookies, without_ours
from gateway.faults import TooManyCookies

OURS = [ACCESS, REFRESH, CSRF]

ALIASES = [
    b"WHM_ACCESS",
    b"Whm_Access",
    b"whm.access",
    b"whm-access",
    b"whm access",
    b"whm[access",
    b"whm%5Faccess",
    b"%77hm_access",
    b"%57HM%5faccess",
    b'"whm_access"',
    b"=whm_access",
    b" = whm_access",
    b"whm_access ",
    b"whm_access\t",
]

# What llhttp lets through in a value: anything but controls, tab excepted.
BYTES = st.binary(max_size=60).map(lambda raw: bytes(b for b in raw if b == 9 or (b >= 0x20 and b != 0x7F)))
PIECES = st.lists(
    st.sampled_from(
        [b";", b"; ", b"=", b"whm_access", b"whm_", b"a", b'"', b"%5f", b" ", b"\t", b"$Version=1"]
    )
)
LINES = st.one_of(BYTES, PIECES.map(b"".join))


def stripped(line: bytes) -> list[bytes]:
    return [pair.strip(b" \t") for pair in line.split(b";")]


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize(
    "line",
    [
        b"%b=v.1_2-3",
        b"a=1; %b=v.1_2-3; b=2",
        b"a=1;%b=v.1_2-3",
        b"\t %b=v.1_2-3 ;",
        b"$Version=1; %b=v.1_2-3",
    ],
)
def test_ours_are_found_wherever_they_stand(name: bytes, line: bytes) -> None:
    assert OurCookies([line % name]).every(name) == (b"v.1_2-3",)


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (b"a=1; whm_access=x; b=2", b"a=1; b=2"),
        (b"whm_access=x; a=1;  b=2 ", b"a=1;  b=2"),
        (b"a=1;whm_refresh=x;b=2", b"a=1;b=2"),
        (b'a="q, r"; whm_csrf=x; b==2=; =c; d', b'a="q, r"; b==2=; =c; d'),
        (b"whm_access=x", None),
        (b"whm_access=x; whm_csrf=y", None),
        (b"whm_access; whm_csrf", None),
        (b"$Version=1; whm_access=x; $Path=/", b"$Version=1; $Path=/"),
        (b'a="; whm_access=x; b="', b'a="; b="'),
        (b"\xc3\xa9=\xff\xfe; whm_access=x", b"\xc3\xa9=\xff\xfe"),
        (b"whm_accessory=1; xwhm_access=2; whm__access=3", b"whm_accessory=1; xwhm_access=2; whm__access=3"),
        (b"a=whm_access=x; b=1,whm_access=y", b"a=whm_access=x; b=1,whm_access=y"),
        (b"", b""),
        (b";;", b";;"),
    ],
)  # fmt: skip
def test_ours_are_taken_out_and_the_others_stay_as_they_came(line: bytes, left: bytes | None) -> None:
    assert without_ours(line) == left


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_neither_read_nor_passed(alias: bytes) -> None:
    assert OurCookies([alias + b"=x"]).every(ACCESS) == ()
    assert not OurCookies([alias + b"=x"])
    assert without_ours(b"a=1; " + alias + b"=x; b=2") == b"a=1; b=2"


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_beside_one_changes_nothing(alias: bytes) -> None:
    for lines in (
        [b"whm_access=x; " + alias + b"=y"],
        [alias + b"=y;whm_access=x"],
        [b"whm_access=x", alias + b"=x"],
    ):
        assert OurCookies(lines).every(ACCESS) == (b"x",)


def test_several_of_one_name_are_all_there_in_their_order_and_each_once() -> None:
    for lines in (
        [b"whm_access=x; whm_access=y; whm_access=; whm_access=x; whm_access; whm_access=z"],
        [b"whm_access=; whm_access=x", b"whm_access=y;whm_csrf=x", b"whm_access=y;whm_access=z"],
    ):
        assert OurCookies(lines).every(ACCESS) == (b"x", b"y", b"z")


def test_more_of_one_name_than_there_are_places_are_none() -> None:
    pairs = [b"whm_access=%d" % number for number in range(MOST_TWINS + 1)]
    assert len(OurCookies([b"; ".join(pairs[1:])]).every(ACCESS)) == MOST_TWINS
    cookies = OurCookies([b"; ".join([*pairs, b"whm_csrf=x"])])
    with pytest.raises(CredentialAmbiguous):
        cookies.every(ACCESS)
    assert cookies.every(CSRF) == (b"x",)


def test_an_empty_one_is_none_and_yet_there() -> None:
    assert OurCookies([b"whm_access=; whm_csrf"]).every(ACCESS) == ()
    assert OurCookies([b"whm_csrf"])
    assert not OurCookies([b"a=1; whm_accessory=2", b""])


@given(LINES)
@example(b"=")
@example(b" ; =;\t")
@example(b'whm_access "')
@example(b'" whm_csrf" =x')
def test_what_is_left_holds_none_of_ours_and_all_of_the_rest(line: bytes) -> None:
    left = without_ours(line)
    careless = re.compile(rb"[\s=\"]*whm[^a-z0-9](access|refresh|csrf)[\s\"]*(=|$)", re.IGNORECASE)
    kept = [] if left is None else stripped(left)
    assert not [pair for pair in kept if careless.match(pair)]
    others = [pair for pair in stripped(line) if not careless.match(pair) and b"%" not in pair]
    assert [pair for pair in kept if pair and b"%" not in pair] == [pair for pair in others if pair]
    if without_ours(line) == line and line:
        assert OurCookies([line]).every(ACCESS) == ()


@given(
    st.lists(LINES.filter(lambda line: line.count(b";") < 5), max_size=5),
    st.sampled_from(OURS),
    st.integers(0, 5),
)
def test_a_cookie_beside_anything_is_among_those_found(lines: list[bytes], name: bytes, place: int) -> None:
    lines.insert(min(place, len(lines)), name + b"=mine")
    found = OurCookies(lines).every(name)
    assert b"mine" in found
    assert len(set(found)) == len(found)
    exact = [pair.strip(b" \t").partition(b"=") for line in lines for pair in line.split(b";")]
    assert set(found) == {value for other, _, value in exact if other == name and value}


@given(LINES)
def test_a_line_without_a_mention_of_ours_is_untouched(line: bytes) -> None:
    assume(b"whm" not in line.lower())
    assume(b"%" not in line)
    assert without_ours(line) == line


def test_more_than_a_browser_keeps_are_refused_unread() -> None:
    assert OurCookies([b"; ".join([b"a=1"] * (MOST - 1)), b"whm_access=x"]).every(ACCESS) == (b"x",)
    for lines in ([b"a;" * MOST], [b"a=1"] * (MOST + 1), [b";" * 30_000]):
        with pytest.raises(TooManyCookies):
            OurCookies(lines)


def test_a_value_is_not_in_the_repr() -> None:
    assert repr(OurCookies([b"whm_access=secret; a=b"])) == "OurCookies(whm_access)"
