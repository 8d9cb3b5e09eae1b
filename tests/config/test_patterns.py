"""Patterns of paths: what they match, which is the more specific, and which two cannot be ordered."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.overlaps import MatchClaim, overlaps
from config.patterns import PathPattern, Relation, compare

SEGMENTS = ("a", "b", "")
PATHS = ["/" + "/".join(parts) for size in (1, 2, 3, 4) for parts in product(SEGMENTS, repeat=size)]
"""Every path of up to four segments over a small alphabet."""


@st.composite
def patterns(draw: st.DrawFn) -> PathPattern:
    parts = draw(st.lists(st.sampled_from(["a", "b", "{}"]), max_size=3))
    parts = [f"{{p{place}}}" if part == "{}" else part for place, part in enumerate(parts)]
    if draw(st.booleans()):
        return PathPattern.parse("/" + "/".join([*parts, "*"]))
    if parts and parts[-1].startswith("{") and draw(st.booleans()):
        return PathPattern.parse("/" + "/".join([*parts[:-1], parts[-1].replace("}", ":opaque}")]))
    return PathPattern.parse("/" + "/".join([*parts, *([""] if draw(st.booleans()) or not parts else [])]))


def matched(pattern: PathPattern) -> set[str]:
    """Return the paths that a pattern matches, by the plainest rule."""
    found = set()
    for path in PATHS:
        segments = path[1:].split("/")
        size = len(pattern.segments)
        if (len(segments) >= size if pattern.below else len(segments) == size) and all(
            (mine is None and theirs != "") or mine == theirs
            for mine, theirs in zip(pattern.segments, segments, strict=False)
        ):
            found.add(path)
    return found


@given(patterns(), patterns())
def test_a_pattern_is_more_specific_when_it_matches_a_part_of_the_other(
    one: PathPattern, other: PathPattern
) -> None:
    mine, theirs = matched(one), matched(other)
    if not mine & theirs:
        expected = Relation.APART
    elif mine == theirs:
        expected = Relation.SAME
    elif mine < theirs:
        expected = Relation.NARROWER
    elif theirs < mine:
        expected = Relation.WIDER
    else:
        expected = Relation.CROSSING
    assert compare(one, other) is expected, (str(one), str(other))


@given(patterns())
def test_a_pattern_is_written_as_it_was_read(pattern: PathPattern) -> None:
    assert PathPattern.parse(str(pattern)) == pattern


def claim(
    path: str, owner: int, methods: str | None, *, layer: int = 1, allows_anonymous: bool = False
) -> MatchClaim:
    return MatchClaim(
        "",
        PathPattern.parse(path),
        frozenset(methods.split()) if methods else None,
        layer,
        allows_anonymous,
        owner,
    )


METHODS = st.sampled_from([None, "GET", "PUT", "GET PUT", "PUT DELETE"])


@given(st.lists(st.tuples(patterns(), METHODS), max_size=8))
def test_every_pair_without_an_order_is_found_and_no_other(
    rules: list[tuple[PathPattern, str | None]],
) -> None:
    claims = [claim(str(path), owner, methods) for owner, (path, methods) in enumerate(rules)]
    found = {(one.owner, other.owner) for one, other in overlaps(claims)}
    expected = set()
    for one in claims:
        for other in claims[one.owner + 1 :]:
            relation = compare(one.path, other.path)
            share = one.methods is None or other.methods is None or bool(one.methods & other.methods)
            if relation is Relation.CROSSING and share:
                expected.add((one.owner, other.owner))
            elif relation is Relation.SAME and share:
                everything = frozenset({*["GET", "PUT", "DELETE"], "any"})
                mine, theirs = one.methods or everything, other.methods or everything
                if not (mine < theirs or theirs < mine):
                    expected.add((one.owner, other.owner))
    assert found == expected


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        (("/a/{x}/c", 0, "GET"), ("/a/b/{y}", 1, "GET"), True),
        (("/a/{x}/c", 0, "GET"), ("/a/b/{y}", 1, "PUT"), False),
        (("/{x}/c", 0, None), ("/a/*", 1, None), True),
        (("/a/{x}", 0, None), ("/a/*", 1, None), False),
        (("/a", 0, None), ("/a/*", 1, None), False),
        (("/a/{x}", 0, None), ("/A/{y}", 1, None), True),
        (("/a", 0, "GET PUT"), ("/a", 1, "GET"), False),
        (("/a", 0, "GET PUT"), ("/a", 1, "PUT DELETE"), True),
        (("/a", 0, "GET"), ("/a", 0, "GET"), False),
    ],
)
def test_two_routes_conflict_when_neither_is_more_specific(
    one: tuple[str, int, str | None], other: tuple[str, int, str | None], *, conflict: bool
) -> None:
    assert bool(list(overlaps([claim(*one), claim(*other)]))) is conflict
    assert bool(list(overlaps([claim(*other), claim(*one)]))) is conflict


def test_routes_that_open_differ_by_their_case() -> None:
    assert not list(
        overlaps([claim("/a", 0, None, allows_anonymous=True), claim("/A", 1, None, allows_anonymous=True)])
    )
    assert list(overlaps([claim("/a", 0, None, allows_anonymous=True), claim("/A", 1, None)]))


def test_for_the_same_path_the_file_counts_and_no_conflict_is() -> None:
    assert not list(overlaps([claim("/a", 0, "GET", layer=0), claim("/a", 1, None)]))
    assert list(overlaps([claim("/a/{x}/c", 0, None, layer=0), claim("/a/b/{y}", 1, None)]))


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "*", "/a*", "/*/a", "/a/*/b", "/a?b", "/a#", "/a b", "/a\\b", "/a;b", "/a%20b", "/a\x00"),
        *(
            "//",
            "/a//b",
            "/a//*",
            "//*",
            "/.",
            "/..",
            "/a/../b",
            "/{",
            "/}",
            "/{}",
            "/{a-b}",
            "/a{b}",
            "/{a}b",
        ),
        *("/{a}/{a}", "/{1}", "/" + "/".join("x" * 33)),
    ],
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"should|names|has an empty"):
        PathPattern.parse(text)


@pytest.mark.parametrize(
    "text", ["/", "/*", "/a", "/a/", "/a/*", "/{a}", "/{a}/*", "/a/{b}/", "/café", "/...", "/a.b"]
)
def test_what_is_a_pattern_is_read(text: str) -> None:
    assert str(PathPattern.parse(text)) == text
