"""Route matcher: a trie of path segments for each host, so that 500 rules cost what 5 do.

Laws:

- Host first: rules of the exact host, then those of a wildcard over its first label, then those of any host. Within a
  host the most specific path wins. Within a path the upper layer wins, then a rule that names methods over one that
  does not and fewer methods over more, and at last the rule that needs a credential.
- A rule that needs a credential matches in any case; a rule that admits anonymous callers matches exactly.
- A search looks at the segments of the request, never at the number of rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from config.patterns import PathPattern


class Rule(Protocol):
    """Rule of a route table, which a search finds."""

    @property
    def host(self) -> str:
        """A host, ``*.`` and a host, or empty for any host."""

    @property
    def path(self) -> PathPattern:
        """The paths it matches."""

    @property
    def methods(self) -> frozenset[bytes] | None:
        """The methods it matches; None for any."""

    @property
    def layer(self) -> int:
        """Priority among rules for the same path: a lower layer gives way."""

    @property
    def allows_anonymous(self) -> bool:
        """True if it admits callers without a credential."""


R = TypeVar("R", bound=Rule)

ANY_HOST: Final = ""
_MANY: Final = 1000


class _Node(Generic[R]):
    __slots__ = ("below", "exact", "literals", "parameter")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[R]] = {}
        self.parameter: _Node[R] | None = None
        self.exact: list[R] = []
        self.below: list[R] = []


class Tree(Generic[R]):
    """Trie of rules."""

    def __init__(self, rules: Iterable[R]) -> None:
        self._roots: dict[str, _Node[R]] = {}
        for rule in rules:
            node = self._roots.setdefault(rule.host.lower(), _Node())
            for segment in rule.path.folded:
                if segment is not None:
                    node = node.literals.setdefault(segment, _Node())
                else:
                    node.parameter = node = node.parameter or _Node()
            at = node.below if rule.path.below else node.exact
            at.append(rule)
            at.sort(key=_rank)
        self.by_host = bool(self._roots.keys() - {ANY_HOST})
        self._anywhere = self._roots.get(ANY_HOST)

    def find(self, host: str, method: bytes, path: str, refused: set[bytes]) -> R | None:
        """Return the rule of a request; add to `refused` the methods that its path's rules do accept."""
        segments = path[1:].split("/")
        search: _Search[R] = _Search(method, segments, path.lower()[1:].split("/"), refused)
        if self.by_host:
            label, _, domain = host.partition(".")
            for root in (self._roots.get(host), self._roots.get(f"*.{domain}") if label and domain else None):
                if root is not None and (found := search.below(root, 0)) is not None:
                    return found
        return None if self._anywhere is None else search.below(self._anywhere, 0)


class _Search(Generic[R]):
    __slots__ = ("_folded", "_method", "_refused", "_segments")

    def __init__(self, method: bytes, segments: list[str], folded: list[str], refused: set[bytes]) -> None:
        self._method = method
        self._segments = segments
        self._folded = folded
        self._refused = refused

    def below(self, node: _Node[R], place: int) -> R | None:
        """Search below a node: a literal segment first, then a parameter, then a rule for everything below."""
        if place == len(self._folded):
            if node.exact and (found := self._first(node.exact)) is not None:
                return found
        else:
            segment = self._folded[place]
            child = node.literals.get(segment)
            if child is not None and (found := self.below(child, place + 1)) is not None:
                return found
            child = node.parameter
            if child is not None and segment and (found := self.below(child, place + 1)) is not None:
                return found
        return self._first(node.below) if node.below else None

    def _first(self, rules: list[R]) -> R | None:
        for rule in rules:
            if rule.allows_anonymous and not self._spelt(rule.path):
                continue
            if rule.methods is None or self._method in rule.methods:
                return rule
            self._refused |= rule.methods
        return None

    def _spelt(self, pattern: PathPattern) -> bool:
        """Return whether the request's path is written as the pattern is, letter for letter."""
        return all(
            wanted is None or wanted == segment
            for wanted, segment in zip(pattern.segments, self._segments, strict=False)
        )


def _rank(rule: Rule) -> tuple[int, int, bool]:
    return -rule.layer, _MANY if rule.methods is None else len(rule.methods), rule.allows_anonymous


def host_of(field: bytes) -> str:
    """Return the host of a Host field in the form that rules use: lower case, without port and final dot."""
    text = field.decode("latin-1").lower()
    if text.startswith("["):  # an IPv6 address
        return text.partition("]")[0] + "]"
    return text.partition(":")[0].removesuffix(".")
