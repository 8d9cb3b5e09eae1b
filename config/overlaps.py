"""Overlap check of a route file: it finds rules that could both match a request while neither is more specific.

Law: every such pair is found by walking a trie of segments: comparing each rule with each other one would take minutes
for a table of thousands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from config.patterns import Relation, compare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from config.patterns import PathPattern


@dataclass(frozen=True, slots=True)
class MatchClaim:
    """Match condition of one rule, with the route it belongs to.

    Attributes:
        host: A host, a wildcard, or empty for any host.
        path: The paths it matches.
        methods: The methods; None for any.
        layer: Of rules for the same path, the one of the higher layer wins.
        allows_anonymous: It admits anonymous callers, so it matches exact letters only.
        owner: The index of its route in the plan.
    """

    host: str
    path: PathPattern
    methods: frozenset[str] | None
    layer: int
    allows_anonymous: bool
    owner: int


@dataclass(slots=True)
class _Node:
    children: dict[str | None, _Node] = field(default_factory=dict)
    ends: list[MatchClaim] = field(default_factory=list)
    """The claims whose segments end here."""


def overlaps(claims: Sequence[MatchClaim]) -> Iterator[tuple[MatchClaim, MatchClaim]]:
    """Yield every pair of claims without an order, the later one second."""
    roots: dict[str, _Node] = {}
    for claim in claims:
        node = roots.setdefault(claim.host, _Node())
        for earlier in _meeting(node, claim.path.folded, 0, below=claim.path.below):
            if _is_unordered(earlier, claim):
                yield earlier, claim
        _insert(node, claim)


class ClaimIndex:
    """Index of claims by host and path, to find what stands behind one of them."""

    def __init__(self, claims: Sequence[MatchClaim]) -> None:
        self._roots: dict[str, _Node] = {}
        for claim in claims:
            _insert(self._roots.setdefault(claim.host, _Node()), claim)

    def wider(self, claim: MatchClaim) -> Iterator[MatchClaim]:
        """Yield the claims that take all paths of `claim` and others, on its host, for some of its methods."""
        hosts = dict.fromkeys((claim.host, f"*.{claim.host.partition('.')[2]}", ""))
        for root in (self._roots[host] for host in hosts if host in self._roots):
            for other in _meeting(root, claim.path.folded, 0, below=claim.path.below):
                if compare(claim.path, other.path) is Relation.NARROWER and _share(
                    claim.methods, other.methods
                ):
                    yield other


def _insert(node: _Node, claim: MatchClaim) -> None:
    for segment in claim.path.folded:
        node = node.children.setdefault(segment, _Node())
    node.ends.append(claim)


def _meeting(
    node: _Node, segments: tuple[str | None, ...], place: int, *, below: bool
) -> Iterator[MatchClaim]:
    """Yield the claims below `node` that share a path with a pattern; a few others may be among them."""
    if place == len(segments):
        yield from node.ends
        if below:
            for child in node.children.values():
                yield from _all(child)
        return
    yield from (claim for claim in node.ends if claim.path.below)
    segment = segments[place]
    if segment is None:
        children = list(node.children.values())
    else:
        children = [node.children[key] for key in (segment, None) if key in node.children]
    for child in children:
        yield from _meeting(child, segments, place + 1, below=below)


def _all(node: _Node) -> Iterator[MatchClaim]:
    yield from node.ends
    for child in node.children.values():
        yield from _all(child)


def _is_unordered(one: MatchClaim, other: MatchClaim) -> bool:
    relation = compare(one.path, other.path)
    if relation not in _UNORDERED or (
        one.allows_anonymous and other.allows_anonymous and _differ_in_case(one.path, other.path)
    ):
        return False
    if relation is Relation.CROSSING:
        return _share(one.methods, other.methods)
    if one.layer != other.layer or one.owner == other.owner:
        return False
    if one.methods is None or other.methods is None:
        return one.methods is other.methods
    nested = one.methods < other.methods or other.methods < one.methods
    return _share(one.methods, other.methods) and not nested


_UNORDERED: Final = frozenset({Relation.SAME, Relation.CROSSING})


def _share(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    return one is None or other is None or not one.isdisjoint(other)


def _differ_in_case(one: PathPattern, other: PathPattern) -> bool:
    pairs = zip(one.segments, other.segments, strict=False)
    return any(left is not None and right is not None and left != right for left, right in pairs)
