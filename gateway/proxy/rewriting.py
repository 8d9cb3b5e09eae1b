"""Path rewriting: it builds the path that an upstream is sent if a route changes it.

Laws:

- Whole segments are copied from the client's path, byte for byte as they came: nothing is decoded and encoded again, so
  no escape changes its meaning.
- The client's path is unambiguous, so it has as many segments as the canonical path; that is why a rule may count them.
- The result is checked as if a client had sent it: a rewriting cannot produce a path that a client may not ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.faults import BadRequest
from gateway.proxy.target import canonical_path
from gateway.wire.messages import ProtocolError

if TYPE_CHECKING:
    from config.patterns import PathPattern
    from gateway.proxy.target import Target

_TAIL: Final = "*"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Rewrite rule for paths.

    Attributes:
        parts: The segments of the new path: literal bytes, or the index of a segment of the client's path.
        tail: The index of the client's segment from which on all are appended; None for none.
    """

    parts: tuple[bytes | int, ...]
    tail: int | None

    @classmethod
    def template(cls, text: str, pattern: PathPattern) -> Rewrite:
        """Compile ``/v2/{id}/*``, in which a name stands for the segment that `pattern` names so."""
        named = dict(pattern.names)
        *parts, last = text[1:].split("/")
        if last != _TAIL:
            parts.append(last)
        return cls(
            tuple(named[part[1:-1]] if part.startswith("{") else part.encode("ascii") for part in parts),
            len(pattern.segments) if last == _TAIL else None,
        )

    @classmethod
    def without(cls, prefix: str) -> Rewrite:
        """Compile a rule that removes ``/prefix``."""
        return cls((), prefix.count("/"))

    def apply(self, target: Target) -> bytes:
        """Return the request target to send in place of `target`.

        Raises:
            BadRequest: the new path would be ambiguous.
        """
        path, mark, query = target.forwarded.partition(b"?")
        segments = path.split(b"/")[1:]
        parts = [part if isinstance(part, bytes) else segments[part] for part in self.parts]
        if self.tail is not None:
            parts += segments[self.tail :]
        written = b"/" + b"/".join(parts)
        try:
            canonical_path(written)
        except ProtocolError as error:
            raise BadRequest(f"The path cannot be rewritten for the upstream: {error.reason}") from error
        return written + mark + query
