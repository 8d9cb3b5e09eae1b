"""Path patterns: their grammar, and the order of two patterns by specificity.

::

    /api/users            this path
    /api/users/{id}       any one non-empty segment in place of {id}
    /api/*                /api and everything below it
    /files/{name:opaque}  any one last segment, which the server splits off before it decodes it

Laws:

- A pattern is written decoded, and is matched with the one canonical path of a request, segment by segment.
- Only a last segment may be opaque. Which requests a pattern matches is the same with and without: only targets that
  are refused everywhere else are accepted besides (:mod:`gateway.proxy.target`).
- A pattern is more specific than another if the other matches all of its paths too. Two patterns *cross* if they share
  some paths and neither covers the other: then the patterns determine no order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

DEEPEST: Final = 32
"""Most segments of a pattern."""

_SEGMENT: Final = re.compile(r"(?!\.{1,2}\Z)[^\x00-\x20\x7f/?#*\\;%{}]*")
_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,31})(:opaque)?\}")


class Relation(Enum):
    """Relation between the sets of paths that two patterns match."""

    APART = "apart"
    SAME = "same"
    NARROWER = "narrower"
    WIDER = "wider"
    CROSSING = "crossing"


@dataclass(frozen=True, slots=True)
class PathPattern:
    """Path pattern.

    Attributes:
        segments: The texts between the slashes; None for any one non-empty segment.
        below: Everything below matches too.
        names: The name of each parameter, and the index of its segment.
        opaque: The last segment is a parameter that may hold encoded slashes and the like.
    """

    segments: tuple[str | None, ...]
    below: bool
    names: tuple[tuple[str, int], ...] = ()
    opaque: bool = False

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """Parse ``/path``, with ``{name}`` for a segment, and a final ``{name:opaque}`` or ``/*``.

        Raises:
            ValueError: the text has another form; the message says what to write.
        """
        if not text.startswith("/"):
            raise ValueError("should begin with /")
        parts = text[1:].split("/")
        below = parts[-1] == "*"
        if below:
            parts.pop()
        if len(parts) > DEEPEST:
            raise ValueError(f"should have at most {DEEPEST} segments")
        segments: list[str | None] = []
        names: dict[str, int] = {}
        opaque = False
        for place, part in enumerate(parts):
            parameter = _PARAMETER.fullmatch(part)
            if parameter is not None:
                if parameter[1] in names:
                    raise ValueError(f"names {{{parameter[1]}}} twice")
                if opaque := parameter[2] is not None:
                    _check_is_last(parameter[1], last=place == len(parts) - 1 and not below)
                names[parameter[1]] = place
                segments.append(None)
                continue
            if not part and (below or place < len(parts) - 1):
                raise ValueError("has an empty segment, which no request that is let in has")
            if _SEGMENT.fullmatch(part) is None:
                raise ValueError(
                    f"segment {part!r} should be plain text, written decoded, or one {{name}}; "
                    "a * stands only at the very end, after a /"
                )
            segments.append(part)
        return cls(tuple(segments), below, tuple(names.items()), opaque)

    @property
    def folded(self) -> tuple[str | None, ...]:
        """The segments in lower case."""
        return tuple(None if segment is None else segment.lower() for segment in self.segments)

    def __str__(self) -> str:
        mark = ":opaque" if self.opaque else ""
        last = len(self.segments) - 1
        named = {place: f"{{{name}{mark if place == last else ''}}}" for name, place in self.names}
        parts = [
            named.get(place, "{}") if segment is None else segment
            for place, segment in enumerate(self.segments)
        ]
        return "/" + "/".join([*parts, "*"] if self.below else parts)


def _check_is_last(name: str, *, last: bool) -> None:
    if not last:
        raise ValueError(f"{{{name}:opaque}} should be the last segment, with nothing below it")


def compare(one: PathPattern, other: PathPattern) -> Relation:
    """Return the relation of `one` to `other`, ignoring case."""
    mine, theirs = one.folded, other.folded
    pairs = [pair for pair in zip(mine, theirs, strict=False) if pair[0] != pair[1]]
    # Two different literal segments share no path, and a parameter matches no empty segment.
    if any(left is not None and right is not None for left, right in pairs) or ("" in sum(pairs, ())):
        return Relation.APART
    narrower = any(right is None for _, right in pairs)
    wider = any(left is None for left, _ in pairs)
    longer = len(mine) - len(theirs)
    if (longer > 0 and not other.below) or (longer < 0 and not one.below):
        return Relation.APART
    narrower |= longer > 0 or (longer == 0 and other.below and not one.below)
    wider |= longer < 0 or (longer == 0 and one.below and not other.below)
    return _RELATIONS[narrower, wider]


_RELATIONS: Final = {
    (False, False): Relation.SAME,
    (True, False): Relation.NARROWER,
    (False, True): Relation.WIDER,
    (True, True): Relation.CROSSING,
}
