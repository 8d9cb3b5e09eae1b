"""The path as the upstream is sent it, where a route changes it.

Laws:

- What is taken over from the client's path is whole segments, byte for byte as they came: nothing is decoded and
  encoded again, so no escape changes its meaning.
- A client's path has been found to have one reading, so its segments and those of the canonical path are the same in
  number; that is what lets a rule count them.
- The result is looked at again as if a client had sent it: a rewriting cannot produce what a client may not ask for.
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
    """A way to change paths.

    Attributes:
        parts: Each segment of the new path: bytes as they are, or the number of a segment of the client's path.
        tail: The number of the client's segment from which on all are taken over at the end; None for none.
    """

    parts: tuple[bytes | int, ...]
    tail: int | None

    @classmethod
    def template(cls, text: str, pattern: PathPattern) -> Rewrite:
        """Read ``/v2/{id}/*``, in which a name stands for the segment that `pattern` so names."""
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
        """Leave out ``/prefix``."""
        return cls((), prefix.count("/"))

    def apply(self, target: Target) -> bytes:
        """Return what to send instead of `target`.

        Raises:
            BadRequest: the new path would have more than one reading.
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
