"""Prefix guard: it holds other spellings of a protected prefix to what the prefix asks for.

A server behind the gateway may take ``/billing/admin.``, ``/billing/admin%20``, ``/billing/admin.json`` or full-width
letters for ``/billing/admin``. A route table that compares letters would leave them to the next wider route.

Laws:

- A segment spells a literal if they are equal without case, compatibility forms (NFKD), accents, invisible characters
  and spaces and dots at the end; what follows a dot or a colon may be left out.
- The guard only ever tightens: a request that spells a prefix gets the prefix' route in place of a wider or crossing
  one that asks for less, keeps one that asks for as much, and is 404 where neither asks for all that the other does.
- A route that is written for the very spelling, or below the prefix, stays.
- A search looks at the segments of the request, never at the number of prefixes; whether a rule is wider than any of
  them is found out once, at its first request.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from authcore.authorize import asks_at_least
from config.patterns import Relation, compare
from gateway.faults import NotFound
from gateway.proxy.matching import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.proxy.routes import Route


class Guarded(Rule, Protocol):
    """Rule of a route table, as the guard sees it."""

    @property
    def route(self) -> Route:
        """The route of what it matches."""


R = TypeVar("R", bound=Guarded)

_INVISIBLE: Final = frozenset({"Mn", "Me", "Cf", "Cc", "Zl", "Zp"})
_WIDER: Final = frozenset({Relation.NARROWER, Relation.CROSSING})
"""Relations of a prefix to the rules that it takes precedence over."""
_SLASH: Final = re.compile(r"[/\\]")
_ENDING: Final = re.compile(r"[.:]")


def skeleton(text: str) -> str:
    """Return a text without what a lenient server may overlook: case, compatibility, accents, what is invisible."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    visible = "".join(one for one in decomposed if unicodedata.category(one) not in _INVISIBLE)
    return unicodedata.normalize("NFKD", visible.casefold())


def segments_of(path: str) -> list[str]:
    """Return the segments of a path as a lenient server may read them, its dot segments resolved."""
    found: list[str] = []
    for segment in _SLASH.split(skeleton(path)):
        if segment == "..":
            del found[-1:]
        elif bare := _bare(segment):
            found.append(bare)
    return found


def _bare(segment: str) -> str:
    return segment.strip().rstrip(" .")


class _Node(Generic[R]):
    __slots__ = ("endings", "ends", "literals", "parameter")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[R]] = {}
        self.endings: set[int] = set()
        self.parameter: _Node[R] | None = None
        self.ends: list[R] = []

    def child(self, segment: str | None, *, endings: bool) -> _Node[R]:
        """Return the node below, which is made if there is none; with `endings`, a segment may have one more."""
        if segment is None:
            self.parameter = self.parameter or _Node()
            return self.parameter
        literal = _bare(skeleton(segment))
        if endings:
            self.endings.add(len(_ENDING.findall(literal)))
        return self.literals.setdefault(literal, _Node())

    def spelt(self, segment: str) -> Iterator[_Node[R]]:
        """Yield the nodes of the literals that a segment may spell, and that of a parameter."""
        marks = [match.start() for match in _ENDING.finditer(segment)] if self.endings else []
        for text in (segment, *(segment[: marks[size]] for size in self.endings if size < len(marks))):
            if (found := self.literals.get(_bare(text))) is not None:
                yield found
        if self.parameter is not None:
            yield self.parameter


class PrefixGuard(Generic[R]):
    """Guard of the rules of protected prefixes."""

    def __init__(self, rules: Iterable[R], *, endings: bool) -> None:
        """Each of `rules` needs a credential, and matches everything below its path.

        With `endings`, what follows a dot or a colon may be left out of a segment.
        """
        self._prefixes = list(rules)
        self._concerns: dict[int, bool] = {}
        self._roots: dict[str, _Node[R]] = {}
        for rule in self._prefixes:
            node = self._roots.setdefault(rule.host.lower(), _Node())
            for segment in rule.path.segments:
                node = node.child(segment, endings=endings)
            node.ends.append(rule)

    def hold(self, rule: R, host: str, method: bytes, path: str) -> R:
        """Return the rule of a request that the table has found `rule` for.

        Raises:
            NotFound: the path spells a prefix, and neither its rule nor `rule` asks for all that the other does.
        """
        if not self._may_give_way(rule):
            return rule
        segments = segments_of(path)
        for name in (host, f"*.{host.partition('.')[2]}", ""):
            root = self._roots.get(name)
            found = None if root is None else _deepest(root, segments, 0, method)
            if found is not None and compare(found.path, rule.path) in _WIDER:
                return _stricter(found, rule)
            if name == rule.host.lower():
                break  # a rule of a host goes before those of wider hosts, whatever the path
        return rule

    def spelt(self, host: str, method: bytes, path: str) -> list[R]:
        """Return the rule of each prefix that a path spells, by the hosts that they are for."""
        segments = segments_of(path)
        roots = (self._roots.get(name) for name in (host, f"*.{host.partition('.')[2]}", ""))
        found = (_deepest(root, segments, 0, method) for root in roots if root is not None)
        return [rule for rule in found if rule is not None]

    def _may_give_way(self, rule: R) -> bool:
        """Return whether some prefix takes precedence over `rule`; looked up once for each rule of the table."""
        known = self._concerns.get(id(rule))
        if known is None:
            known = any(compare(prefix.path, rule.path) in _WIDER for prefix in self._prefixes)
            self._concerns[id(rule)] = known
        return known


def _deepest(node: _Node[R], segments: list[str], place: int, method: bytes) -> R | None:
    if place < len(segments):
        for child in node.spelt(segments[place]):
            if (found := _deepest(child, segments, place + 1, method)) is not None:
                return found
    return next((rule for rule in node.ends if rule.methods is None or method in rule.methods), None)


def _stricter(prefix: R, rule: R) -> R:
    if _asks_at_least(prefix.route, rule.route):
        return prefix
    if _asks_at_least(rule.route, prefix.route):
        return rule
    raise NotFound("Not found")


def _asks_at_least(one: Route, other: Route) -> bool:
    """Return whether a route asks for all that another does, by what it requires and how it takes it."""
    lenient = (
        (one.shadow, other.shadow),
        (one.unproven, other.unproven),
        (one.tickets, other.tickets),
        (one.message, other.message),
    )
    return asks_at_least(one.requirement, other.requirement) and all(
        not mine or theirs for mine, theirs in lenient
    )
