"""Load generator: it runs wrk and parses its report."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.field_sets import every
from bench.machine import LOAD, pinned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Load:
    """Load that a proxy is sent.

    Attributes:
        name: Its name in the report.
        path: The request target.
        connections: Number of concurrent connections.
        upload: Bytes of body in each request; 0 for a GET.
        download: Bytes of body in each response.
        secure: It is sent by TLS, to the candidates that listen with it.
        brief: Each request has a connection of its own.
        varied: The head of each request differs (:mod:`bench.field_sets`), and so does that of each response.
    """

    name: str
    path: str
    connections: int
    upload: int = 0
    download: int = 470
    varied: bool = False
    secure: bool = False
    brief: bool = False


@dataclass(frozen=True)
class Measured:
    """Report of wrk on one run; times in seconds."""

    requests: int
    rate: float
    p50: float
    p99: float
    errors: int


def run(  # noqa: PLR0913 -- the parts of one run
    load: Load,
    port: int,
    headers: Sequence[Mapping[str, str]],
    seconds: float,
    work: Path,
    *,
    core: int | None = LOAD,
) -> Measured:
    """Send `load` to 127.0.0.1:`port` for `seconds`, from one core (None: from any core).

    `headers` are those of each caller; only a varied load is sent by more than the first.
    """
    script = work / f"{load.name}.lua"
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in headers[0].items()]
    if load.brief:
        lines.append('wrk.headers["Connection"] = "close"')
    if load.upload:
        lines += ['wrk.method = "POST"', f'wrk.body = string.rep("x", {load.upload})']
    path = load.path
    if load.varied:
        credentials = [_line(caller) for caller in headers]
        requests = [request.replace("\r\n", "\\r\\n") for request in every(path, credentials)]
        lines = ["local requests = {", *(f"  '{request}'," for request in requests), "}", "local number = 0"]
        lines += [
            "request = function()",
            "  number = number % #requests + 1",
            "  return requests[number]",
            "end",
        ]
        path = load.path % 0
    script.write_text("\n".join(lines))
    command = [
        *pinned(core),
        "wrk",
        "-t1",
        f"-c{load.connections}",
        f"-d{seconds}s",
        "--latency",
    ]
    scheme = "https" if load.secure else "http"
    done = subprocess.run(  # noqa: S603 -- wrk, on loopback
        [*command, "-s", str(script), "--timeout", "10s", f"{scheme}://127.0.0.1:{port}{path}"],
        check=True,
        capture_output=True,
        text=True,
    )
    return _parse(done.stdout)


def _line(caller: Mapping[str, str]) -> str:
    """Return the field line of a caller's credential; some field without one, for a candidate that asks for none."""
    return next((f"{name}: {value}" for name, value in caller.items()), "Accept-Charset: utf-8")


def _parse(text: str) -> Measured:
    def seconds(label: str) -> float:
        match = re.search(rf"^\s+{label}\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
        return float(match[1]) * _UNITS[match[2]] if match else float("nan")

    requests = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if requests is None or rate is None:
        raise RuntimeError(f"wrk printed something else:\n{text}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    errors = int(refused[1]) if refused else 0
    errors += sum(int(part) for part in broken.groups()) if broken else 0
    return Measured(int(requests[1]), float(rate[1]), seconds("50%"), seconds("99%"), errors)
