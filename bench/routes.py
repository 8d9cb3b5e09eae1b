"""Micro-benchmark of route matching with 5, 500 and 5,000 routes: nanoseconds, best of many rounds.

``python -m bench.routes`` measures the tables in turns, so that other load on the machine affects all of them alike. A
round's requests are the same for all tables. A remembered path was matched before; a cold path was not, so the table's
memo does not have it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, cast

import click

from authcore.authorize import AUTHENTICATED, PUBLIC
from config.patterns import PathPattern
from gateway.metrics import Metrics
from gateway.proxy.routes import Pattern, Route, RouteTable, of_method

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.proxy.upstreams import Upstream

SIZES: Final = (5, 500, 5000)
ASKED: Final = 1000


def table(size: int) -> RouteTable:
    """Make a table of `size` routes, like that of an organization with many services."""
    metrics, nobody = Metrics(), cast("Upstream", None)  # matching never reads an upstream
    rules = [(Pattern(PathPattern.parse("/*")), Route("rest", PUBLIC, nobody, metrics.route("rest")))]
    shapes = ("", "/{id}", "/{id}/parts", "/{id}/parts/{part}/*")
    for number in range(size - 1):
        name = f"r{number}"
        path = PathPattern.parse(f"/api/service-{number // 4}{shapes[number % 4]}")
        methods = of_method("GET", "PUT") if number % 2 else None
        rules.append((Pattern(path, methods), Route(name, AUTHENTICATED, nobody, metrics.route(name))))
    return RouteTable({}, rules, None)


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ask(routes: RouteTable, paths: list[str]) -> Callable[[], None]:
    """Return a function that matches every path once."""
    match = routes.match

    def work() -> None:
        for path in paths:
            match(b"GET", path, preflight=False)

    return work


@click.command()
@click.option("--rounds", default=40, show_default=True)
def main(rounds: int) -> None:
    """Measure."""
    tables = {size: table(size) for size in SIZES}
    # Every table has these services. Warm paths are the same for all tables; cold paths differ in each round.
    warm = [f"/api/service-0/{number % 50}/parts" for number in range(ASKED)]
    fastest = {(size, kind): 1.0 for size in SIZES for kind in ("remembered", "cold")}
    for turn in range(rounds):
        cold = [f"/api/service-0/{turn}-{number}/parts/7/x" for number in range(ASKED)]
        for size, routes in tables.items():
            ask(routes, warm)()
            for kind, paths in (("remembered", warm), ("cold", cold)):
                fastest[size, kind] = min(fastest[size, kind], _timed(ask(routes, paths)))
    for kind in ("remembered", "cold"):
        few = fastest[SIZES[0], kind]
        for size in SIZES:
            each = 1e9 * fastest[size, kind] / ASKED
            click.echo(
                f"{kind:11} {size:5} routes {each:7.0f} ns  {fastest[size, kind] / few:5.2f} x of {SIZES[0]}"
            )


if __name__ == "__main__":
    main()
