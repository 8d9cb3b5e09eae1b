"""Open-loop load generator: it sends requests at a constant rate, and times each from the moment it was due.

wrk sends a request when the one before it has been answered, so a proxy that stops for a second is sent nothing
meanwhile, and its stop is one slow request among thousands. Here a request is due at its place in the schedule,
whatever became of the others: one that finds no connection free is sent late, and its wait counts.

The generator is a program in C (``constant_rate.c``), compiled when it is first run: it shares a core with the
upstream, and one in Python carried fewer requests a second than the gateway does.
"""

from __future__ import annotations

import functools
import math
import shutil
import subprocess
import tempfile
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.machine import pinned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOURCE: Final = Path(__file__).with_suffix(".c")
TIMEOUT_SECONDS: Final = 60.0
"""How long after its schedule a run is killed; the program itself gives up earlier."""
_ENDED: Final = 3
_LATE: Final = 4
"""Exit codes of the program."""


@dataclass(frozen=True)
class Steady:
    """One run at a constant rate; times in seconds, from the moment at which a request was due.

    Attributes:
        rate: The rate of the schedule.
        requests: The requests that were answered.
        errors: Those among them whose status was not 200.
        p50: The median.
        p99: The 99th percentile.
        p999: The 99.9th percentile.
        longest: The longest time.
        late: The 99th percentile of how late a request was sent, waits for a connection included.
        own: The same, from the moment at which a connection was free: what the generator itself was late by.
    """

    rate: float
    requests: int
    errors: int
    p50: float
    p99: float
    p999: float
    longest: float
    late: float
    own: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the `ordered` values that `share` of them do not exceed; NaN if there are none."""
    if not ordered:
        return math.nan
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def request_bytes(path: str, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of a GET."""
    lines = [f"{name}: {value}\r\n" for name, value in {"Host": "127.0.0.1", **headers}.items()]
    return f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


@functools.cache
def program() -> Path:
    """Compile the generator; return where it is. It is removed when this process ends.

    Raises:
        RuntimeError: there is no C compiler, or it failed.
    """
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise RuntimeError("the load generator needs a C compiler: install gcc or clang")
    folder = tempfile.TemporaryDirectory(prefix="constant-rate-")
    _FOLDERS.append(folder)
    made = Path(folder.name) / "constant_rate"
    done = subprocess.run(  # noqa: S603 -- the compiler, with our source
        [compiler, "-O2", "-o", str(made), str(SOURCE)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the load generator was not compiled:\n{done.stderr}")
    return made


_FOLDERS: Final[list[tempfile.TemporaryDirectory[str]]] = []
"""Keeps the compiled program until this process ends."""


def run(  # noqa: PLR0913 -- the parts of one run
    port: int, rate: float, seconds: float, connections: int, request: bytes, *, core: int | None = None
) -> Steady:
    """Send `request` to 127.0.0.1:`port` at `rate` a second for `seconds`, over so many `connections`.

    The generator is pinned to `core`, if one is given.

    Raises:
        ConnectionError: the other side ended a connection.
        TimeoutError: answers did not come in time.
        RuntimeError: the generator could not be compiled, or failed.
    """
    arguments = [str(one) for one in (port, rate, seconds, connections)]
    done = subprocess.run(  # noqa: S603 -- the program above, on loopback
        [*pinned(core), str(program()), *arguments],
        input=request,
        capture_output=True,
        check=False,
        timeout=seconds + TIMEOUT_SECONDS,
    )
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip()
        raise {_ENDED: ConnectionError, _LATE: TimeoutError}.get(done.returncode, RuntimeError)(message)
    numbers = array("d", done.stdout)
    times, late, own = (sorted(numbers[first::3]) for first in (1, 2, 3))
    return Steady(
        rate=rate,
        requests=len(times),
        errors=int(numbers[0]),
        p50=percentile(times, 0.5),
        p99=percentile(times, 0.99),
        p999=percentile(times, 0.999),
        longest=times[-1],
        late=percentile(late, 0.99),
        own=percentile(own, 0.99),
    )
