"""Launcher of a program with a gateway beside it, which the program asks: both run on, and count for, one core.

Usage: ``python -m bench.beside GATEWAY_PORT PROGRAM ARGUMENT…``; the gateway's settings are in the environment.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Final

STARTING_SECONDS: Final = 30


def main() -> int:
    """Start both, wait for SIGTERM, and stop both."""
    port, *command = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    gateway = subprocess.Popen(
        [sys.executable, "-P", "-m", "gateway", "serve"],
        env={**os.environ, "GATEWAY_LISTEN": f"127.0.0.1:{port}"},
    )
    children = [gateway]
    try:
        _await(int(port), gateway)
        children.append(subprocess.Popen(command))  # noqa: S603 -- the benchmark's own command
        return children[-1].wait()
    finally:
        for child in children:
            child.terminate()
        for child in children:
            with suppress(subprocess.TimeoutExpired):
                child.wait(timeout=8)
            child.kill()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the gateway does not listen")


if __name__ == "__main__":
    sys.exit(main())
