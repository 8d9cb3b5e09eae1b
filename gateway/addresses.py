"""Listen addresses: their parser, and the error with advice for an address that cannot be listened on."""

from __future__ import annotations

import errno


class CannotListen(Exception):
    """A configured listen address that the system refuses."""

    def __init__(self, setting: str, address: str, error: OSError) -> None:
        """`setting` names the address; the message has the system's error and says what to do."""
        if error.errno == errno.EADDRINUSE:
            advice = (
                f"stop the program that has it (`ss -ltnp` names it), or set {setting} to another address"
            )
        elif error.errno == errno.EACCES:
            advice = f"ports below 1024 are root's: set {setting} to one above"
        else:
            advice = f"set {setting} to an address of this machine, such as 127.0.0.1:8080 or 0.0.0.0:8080"
        super().__init__(f"{setting}={address}: {error.strerror}; {advice}")


def host_port(listen: str) -> tuple[str | None, int]:
    """Parse ``host:port``; an empty host is None, which means every address."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]") or None, int(port)
