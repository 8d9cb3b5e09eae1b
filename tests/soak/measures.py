"""Measures of a gateway: memory, descriptors, and connections to its database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.soak.site import Site

CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'whatomate-gateway%'"


@dataclass(frozen=True)
class Measure:
    """At one moment.

    Attributes:
        mebibytes: Resident memory.
        descriptors: Open files and sockets, those to the database among them.
        connections: To the database, as its primary counts them.
        threads: Of the process.
    """

    mebibytes: float
    descriptors: int
    connections: int
    threads: int

    @property
    def rest(self) -> int:
        """Descriptors without those to the database."""
        return self.descriptors - self.connections


async def measure(site: Site) -> Measure:
    return of_kernel(site.pid, (await site.sql(CONNECTIONS))[0][0])


def of_kernel(pid: int, connections: int) -> Measure:
    folder = Path(f"/proc/{pid}")
    fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    memory, threads = int(fields["VmRSS"].split()[0]), int(fields["Threads"])
    return Measure(memory / 1024, len(list((folder / "fd").iterdir())), connections, threads)
