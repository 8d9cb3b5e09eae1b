"""Meters of requests: plain integers, incremented by the one thread that serves.

Laws:

- No lock and no library: a counter of prometheus_client takes a lock for each increment.
- A meter is made once per name and is never replaced: a new route table goes on counting where the last one stopped.
"""

from __future__ import annotations

from typing import Final

from authcore.figures import Histogram, bucket

METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
OTHER: Final = b"other"
"""The label of all other methods, which clients may invent."""
DURATION_BUCKETS: Final[tuple[float, ...]] = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Bucket bounds in seconds: from a warm request on loopback to the default deadline of an upstream."""
ANSWER: Final = "answer"
STREAM: Final = "stream"
KINDS: Final = (ANSWER, STREAM)
"""Kinds of answers. A stream is a WebSocket, or an answer whose body flows for longer than ``STREAM_SECONDS`` after its
head: how long it lasts is no sign of how fast anything is."""
STREAM_SECONDS: Final = 1.0
_SWITCHING: Final = 101
SIZE_BITS: Final = (8, 10, 12, 14, 16, 18, 20, 23, 26, 30)
"""Sizes are counted by their number of bits, and published at these powers of two: 256 bytes to 1 GiB."""
_SIZES: Final = 65
STALE: Final = "stale"
RETRY_CAUSES: Final = (STALE, "connect", "reset", "timeout", "status")
"""Why a request is sent again: a used connection was dead, none could be opened, one ended before any byte, an attempt
took too long, or the status of its answer."""


class Sizes:
    """Histogram of sizes in bytes, by powers of two.

    Attributes:
        counts: At index k, the sizes above 2^(k-1) and up to 2^k; a size of one byte is at 0, an empty one at 1.
        total: The sum of the sizes.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * _SIZES
        self.total = 0

    def up_to(self, bits: int) -> int:
        """Return how many sizes were at most 2^`bits` bytes."""
        return sum(self.counts[: bits + 1])


class Tally:
    """Counter of one kind of verdict."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class VerdictMeter:
    """Counters of the verdicts on callers. A verdict is mostly the same as the last one, whose counter is at hand."""

    __slots__ = ("_credential", "_last", "_outcome", "_tallies")

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._credential = self._outcome = ""
        self._last = Tally()

    @property
    def counts(self) -> dict[tuple[str, ...], int]:
        """The counts by the kind of the credential, and by ``ok``, ``stale`` or the reason for the refusal."""
        return {label: tally.number for label, tally in self._tallies.items()}

    def record(self, credential: str, outcome: str) -> None:
        """Count a verdict."""
        if credential is not self._credential or outcome is not self._outcome:
            self._credential, self._outcome = credential, outcome
            self._last = self._tallies.setdefault((credential, outcome), Tally())
        self._last.number += 1


class RouteMeter:
    """Counters of one route.

    Attributes:
        failures: Requests that the upstream or the gateway failed, by which of them it was and the status.
        heads: Seconds from the request's head to the head of its answer.
        received: Sizes of request bodies; empty bodies are not counted.
        sent: Sizes of response bodies.
    """

    __slots__ = ("_answers", "_streams", "failures", "heads", "received", "sent")

    def __init__(self) -> None:
        self._answers: dict[bytes, dict[int, Histogram]] = {}
        self._streams: dict[bytes, dict[int, Histogram]] = {}
        self.failures: dict[tuple[str, int], int] = {}
        self.heads = Histogram(DURATION_BUCKETS)
        self.received = Sizes()
        self.sent = Sizes()

    @property
    def answered(self) -> dict[tuple[bytes, int], int]:
        """The number of requests by method and status."""
        numbers: dict[tuple[bytes, int], int] = {}
        for kind in KINDS:
            for label, spread in self.durations(kind).items():
                numbers[label] = numbers.get(label, 0) + sum(spread.counts)
        return numbers

    def durations(self, kind: str) -> dict[tuple[bytes, int], Histogram]:
        """Return the seconds to the end of the answer, of one of ``KINDS``, by method and status."""
        return {
            (method, status): spread
            for method, statuses in (self._streams if kind == STREAM else self._answers).items()
            for status, spread in statuses.items()
        }

    def failed(self, blame: str, status: int) -> None:
        """Count a request that ``upstream`` or ``gateway`` failed."""
        self.failures[blame, status] = self.failures.get((blame, status), 0) + 1

    def record(  # noqa: PLR0913, PLR0917 -- what is counted of a request
        self,
        method: bytes,
        status: int,
        seconds: float,
        received: int = 0,
        sent: int = 0,
        head: float = -1.0,
    ) -> None:
        """Count one request that has been answered.

        Args:
            method: As sent.
            status: The status of the answer.
            seconds: To the end of the answer.
            received: Bytes of the request's body.
            sent: Bytes of the answer's body.
            head: Seconds to the head of the answer; negative if both came at once.
        """
        if head < 0.0:
            head = seconds
        is_stream = seconds - head > STREAM_SECONDS or status == _SWITCHING
        methods = self._streams if is_stream else self._answers
        statuses = methods.get(method)
        if statuses is None:
            statuses = methods.setdefault(method if method in METHODS else OTHER, {})
        durations = statuses.get(status)
        if durations is None:
            durations = statuses[status] = Histogram(DURATION_BUCKETS)
        durations.counts[bucket(DURATION_BUCKETS, seconds)] += 1
        durations.total += seconds
        heads = self.heads
        heads.counts[bucket(DURATION_BUCKETS, head)] += 1
        heads.total += head
        if received:
            sizes = self.received
            sizes.counts[(received - 1).bit_length()] += 1
            sizes.total += received
        sizes = self.sent
        sizes.counts[(sent - 1).bit_length()] += 1
        sizes.total += sent


class UpstreamMeter:
    """Counters of one upstream.

    Attributes:
        at_once: Number of requests that found an idle connection.
        waits: Seconds that the other requests waited for a connection, opening it included.
        heads: Seconds from sending a request to the head of its response.
        failures: Number of requests that it failed, by reason.
        faulted: Number of failures that the hosted application answered, such as a 503 for a database that is away.
        failing: Number of failures since it last answered.
        retries: Number of times that a request was sent again, by cause.
        tls_failures: Number of requests for which TLS failed, by what was wrong.
    """

    __slots__ = ("at_once", "failing", "failures", "faulted", "heads", "retries", "tls_failures", "waits")

    def __init__(self) -> None:
        self.at_once = 0
        self.waits = Histogram()
        self.heads = Histogram(DURATION_BUCKETS)
        self.failures: dict[str, int] = {}
        self.tls_failures: dict[str, int] = {}
        self.failing = 0
        self.faulted = 0
        self.retries = dict.fromkeys(RETRY_CAUSES, 0)

    def answered(self, seconds: float) -> None:
        """Count a response head."""
        heads = self.heads
        heads.counts[bucket(DURATION_BUCKETS, seconds)] += 1
        heads.total += seconds
        self.failing = 0

    def retried(self, cause: str) -> None:
        """Count a request that is sent again."""
        self.retries[cause] += 1

    def failed(self, reason: str, tls: str = "") -> None:
        """Count a missing or incomplete response; `tls` is what was wrong with TLS, if that was the reason."""
        self.failures[reason] = self.failures.get(reason, 0) + 1
        if tls:
            self.tls_failures[tls] = self.tls_failures.get(tls, 0) + 1
        self.failing += 1
