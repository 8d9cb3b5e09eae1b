"""Allowance of refusals: how many a process records in a minute, in all and of one client network.

Law: what is beyond the allowance is counted, and comes out as one number when its minute is over.
"""

from __future__ import annotations

from typing import Final

SECONDS: Final = 60.0
_SHARE: Final = 4


class Allowance:
    """Allowance of refusals, in windows of a minute.

    Attributes:
        omitted: Refusals beyond it, since the start.
    """

    def __init__(self, most: int) -> None:
        """Allow `most` refusals a minute, and one network a quarter of them."""
        self._most = most
        self._share = max(1, most // _SHARE)
        self._ends = 0.0
        self._given = 0
        self._networks: dict[str, int] = {}
        self._left_out = 0
        self.omitted = 0

    def allows(self, network: str, now: float) -> bool:
        """Return whether one more refusal of `network` may be recorded at `now`, monotonic seconds; count it if not."""
        if now >= self._ends:
            self._ends, self._given = now + SECONDS, 0
            self._networks.clear()
        of_network = self._networks.get(network, 0)
        if self._given >= self._most or of_network >= self._share:
            self._left_out += 1
            self.omitted += 1
            return False
        self._given += 1
        self._networks[network] = of_network + 1  # at most as many networks as refusals
        return True

    def left_out(self, now: float, *, at_once: bool = False) -> int:
        """Return how many were left out in a minute that is over, or so far if `at_once`; each is returned once."""
        if not self._left_out or (now < self._ends and not at_once):
            return 0
        number, self._left_out = self._left_out, 0
        return number
