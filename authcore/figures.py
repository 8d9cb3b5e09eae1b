"""Figure: a number that a part of the domain keeps about itself, for whoever publishes it.

Law: reading one costs no I/O and takes no lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        name: Snake case, unique within its part.
        meaning: One sentence.
        read: Tells it as it is now.
        counts: It only ever grows.
    """

    name: str
    meaning: str
    read: Callable[[], float]
    counts: bool = False
