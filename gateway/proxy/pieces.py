"""Pieces: lines to forward that are made once for all heads of a shape, with gaps for the values that vary.

They are made by the very function that makes lines of any head, of the shape's lines with a mark in each gap
(:meth:`~gateway.wire.templates.Template.marked`). So they can be used where that function decides by names, and copies
values.
"""

from __future__ import annotations

from gateway.wire.templates import MARK


class Pieces:
    """Lines with gaps, for the heads of one shape.

    Attributes:
        gaps: For each gap that is left in the lines, its place among the pieces and the number of its value.
    """

    __slots__ = ("_pieces", "gaps")

    def __init__(self, marked: bytes) -> None:
        """`marked` are the lines of a shape with its marks in them."""
        self._pieces = marked.split(MARK)
        self.gaps = [(place, int(self._pieces[place])) for place in range(1, len(self._pieces), 2)]

    def fill(self, values: list[bytes]) -> bytes:
        """Return the lines of a head that has `values`."""
        pieces = self._pieces.copy()
        for place, number in self.gaps:
            pieces[place] = values[number]
        return b"".join(pieces)
