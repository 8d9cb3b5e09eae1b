"""Key rotation: it polls the key directory and swaps the key ring when the directory has changed.

Laws:

- A changed directory is validated first and taken as a whole. An unusable one changes nothing: the current ring stays,
  and ``problem`` says why until the directory is mended.
- A key that has gone verifies for as long as a token it signed can live. A revoked one is dropped at once, and the
  verdict cache is cleared with it.
- There is no clock and no task in here: ``check`` is called, with ``now``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from authcore.crypto.key_directory import KeysUnusable, parse_snapshot, take_snapshot
from authcore.crypto.keyring import KeyRing
from authcore.figures import MetricSample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from authcore.crypto.key_directory import Snapshot


class Rotation:
    """Poller that keeps a key ring equal to its directory.

    Attributes:
        problem: Why the directory in its current state cannot be used; empty if it can.
    """

    def __init__(self, ring: KeyRing, directory: Path, *, keep_seconds: float) -> None:
        """`keep_seconds` is the longest time that a token signed by a key may live."""
        self._ring = ring
        self._directory = directory
        self._keep_seconds = keep_seconds
        self._current = self._unusable = b""
        self._taken = self._refused = 0
        self.problem = ""

    def load(self, now: float) -> None:
        """Load the directory for the first time.

        Raises:
            KeysUnusable: the directory cannot be used.
        """
        snapshot = take_snapshot(self._directory)
        while snapshot is None:
            snapshot = take_snapshot(self._directory)
        self._take(snapshot, now)

    async def check(self, now: float, withdrawn: Callable[[], None]) -> bool:
        """Read the directory, and swap the ring if it has changed; `withdrawn` is called if a key no longer verifies.

        Returns:
            True if the ring was swapped.

        Raises:
            KeysUnusable: the directory has changed and cannot be used. Raised once for each change.
        """
        self._ring.expire(now)
        try:
            snapshot = await asyncio.to_thread(take_snapshot, self._directory)
            if snapshot is None or snapshot.digest == self._unusable:
                return False
            if snapshot.digest == self._current:
                self._unusable, self.problem = b"", ""
                return False
            lost = self._take(snapshot, now)
        except KeysUnusable as error:
            if str(error) == self.problem:
                return False
            self.problem = str(error)
            self._refused += 1
            raise
        self._taken += 1
        if lost:
            withdrawn()
        return True

    def _take(self, snapshot: Snapshot, now: float) -> bool:
        self._unusable = snapshot.digest  # reset below, once it has proved usable
        found = parse_snapshot(snapshot)
        try:
            lost = self._ring.swap(found, now, self._keep_seconds)
        except ValueError as error:
            raise KeysUnusable(f"{self._directory}: {error}") from error
        self._current, self._unusable, self.problem = snapshot.digest, b"", ""
        return lost

    def figures(self) -> Iterable[MetricSample]:
        """Yield the gauges and counters to publish."""
        yield MetricSample("keys", "Keys that verify, shared secrets among them.", lambda: len(self._ring))
        yield MetricSample("reloads", "Changes of the key directory taken.", lambda: self._taken, counts=True)
        yield MetricSample(
            "reload_failures", "Changes that could not be taken.", lambda: self._refused, counts=True
        )
        yield MetricSample(
            "outdated",
            "1 while the key directory cannot be taken and the keys of before are used.",
            lambda: float(bool(self.problem)),
        )


def open_ring(  # noqa: PLR0913 - the settings of a ring, by name
    secret: bytes,
    previous: Iterable[bytes],
    *,
    secret_verifies: bool,
    directory: Path | None,
    keep_seconds: float,
    now: float,
) -> tuple[KeyRing, Rotation | None]:
    """Make a ring of shared secrets and of the keys in `directory`, if one is given.

    Raises:
        KeysUnusable: the directory cannot be used.
    """
    ring = KeyRing(secret, previous, secret_verifies=secret_verifies)
    if directory is None:
        return ring, None
    rotation = Rotation(ring, directory, keep_seconds=keep_seconds)
    rotation.load(now)
    return ring, rotation
