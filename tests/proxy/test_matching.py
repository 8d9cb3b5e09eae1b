"""The tree of routes against the plainest search there is, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from config.overlaps import MatchClaim, overlaps
from config.patterns import PathPattern, Relation, compare
from gateway.proxy.matching import Tree, host_of


@dataclass(frozen=True)
class One:
    path: PathPattern
    methods: frozenset[bytes] | None = None
    host: str = ""
    layer: int = 0
    allows_anonymous: bool = False


PATHS = ["/" + "/".join(parts) for size in (1, 2, 3) for parts in product(("a", "B", ""), repeat=size)]
HOSTS = ("", "x.example", "*.example", "*.x.example")


@st.composite
def rules(draw: st.DrawFn) -> One:
    parts = draw(st.lists(st.sampled_from(["a", "b", "B", "{}"]), max_size=3))
    parts = [f"{{p{place}}}" if part == "{}" else part for place, part in enumerate(parts)]
    end: str | None = draw(st.sampled_from(["*", "", None]))
    text = (
        "/" + "/".join([*parts, *([end or ""] if end is not None or not parts else [])])
        if parts or end
        else "/"
    )
    methods = draw(st.sampled_from([None, frozenset({b"GET"}), frozenset({b"PUT", b"GET"})]))
    return One(
        PathPattern.parse(text),
        methods,
        draw(st.sampled_from(HOSTS)),
        draw(st.integers(0, 1)),
        draw(st.booleans()),
    )


def takes(rule: One, host: str, path: str) -> bool:
    """Return whether a rule is for a host and a path, by the plainest rule."""
    if rule.host.startswith("*."):
        if host.partition(".")[2] != rule.host[2:]:
            return False
    elif rule.host not in {"", host}:
        return False
    segments = path[1:].split("/")
    size = len(rule.path.segments)
    if len(segments) < size or (len(segments) > size and not rule.path.below):
        return False
    return all(
        (mine is None and theirs != "")
        or mine == theirs
        or (mine is not None and not rule.allows_anonymous and mine.lower() == theirs.lower())
        for mine, theirs in zip(rule.path.segments, segments, strict=False)
    )


def before(one: One, other: One) -> bool:
    """Return whether `one` is before `other` where both take a request: the documented order."""
    if one.host != other.host:
        return one.host != "" and (other.host == "" or other.host.startswith("*."))
    relation = compare(one.path, other.path)
    if relation is not Relation.SAME:
        return relation is Relation.NARROWER
    if one.layer != other.layer:
        return one.layer > other.layer
    size = len(one.methods) if one.methods else 99
    other_size = len(other.methods) if other.methods else 99
    return (size, one.allows_anonymous) < (other_size, other.allows_anonymous)


@given(st.lists(rules(), max_size=7), st.sampled_from(["x.example", "y.example", "z.x.example", "other"]))
def test_the_tree_finds_what_the_plainest_search_finds(table: list[One], host: str) -> None:
    claims = [
        MatchClaim(
            rule.host,
            rule.path,
            rule.methods if rule.methods is None else frozenset(map(str, rule.methods)),
            rule.layer,
            rule.allows_anonymous,
            owner,
        )
        for owner, rule in enumerate(table)
    ]
    assume(not list(overlaps(claims)))
    tree = Tree(table)
    for path in PATHS:
        for method in (b"GET", b"PUT", b"DELETE"):
            refused: set[bytes] = set()
            found = tree.find(host, method, path, refused)
            fitting = [rule for rule in table if takes(rule, host, path)]
            able = [rule for rule in fitting if rule.methods is None or method in rule.methods]
            if not able:
                assert found is None
                assert refused == {name for rule in fitting for name in rule.methods or ()}
            else:
                assert found in able
                assert not any(before(rule, found) for rule in able)


@pytest.mark.parametrize("number", [5, 500, 5000])
def test_a_search_looks_at_segments_not_at_rules(number: int) -> None:
    """Counted, not timed: which segments of rules a search compares."""
    table = [One(PathPattern.parse(f"/api/v{place}/things/{{id}}/parts")) for place in range(number)]
    tree = Tree([*table, One(PathPattern.parse("/api/*"))])
    compared: list[str] = []

    class Segment(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            compared.append(str(self))
            return str.__eq__(self, other)

    def count(node: Any) -> None:
        if node is not None:
            node.literals = {Segment(name): below for name, below in node.literals.items()}
            for below in (*node.literals.values(), node.parameter):
                count(below)

    count(tree._anywhere)  # noqa: SLF001 - there is no other way to its nodes
    assert tree.find("", b"GET", f"/api/v{number - 1}/things/7/parts", set()) is table[-1]
    assert compared == ["api", f"v{number - 1}", "things", "parts"]
    compared.clear()
    assert tree.find("", b"GET", "/api/none/such", set()) is not None
    assert compared == ["api"]


@pytest.mark.parametrize(
    ("field", "host"),
    [
        (b"Example.COM", "example.com"),
        (b"example.com:8080", "example.com"),
        (b"example.com.", "example.com"),
        (b"example.com.:80", "example.com"),
        (b"[::1]:80", "[::1]"),
        (b"[::1]", "[::1]"),
        (b"", ""),
    ],
)
def test_a_host_is_compared_without_port_case_and_final_dot(field: bytes, host: str) -> None:
    assert host_of(field) == host
