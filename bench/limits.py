"""Micro-benchmark of rate limits: what they add to the gateway's own code for a warm request, in microseconds.

``python -m bench.limits`` measures as :mod:`bench.hotpath` does, one gateway for each kind of limit, in turns: what the
machine does meanwhile falls on all of them alike. No limit refuses.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import click
import uvloop

from bench.hotpath import ANSWER, TERSE, stage

if TYPE_CHECKING:
    from bench.hotpath import Exchange

_RATE: Final = "1000000/s burst 10000000"
VARIANTS: Final[dict[str, dict[str, str]]] = {
    "no limit": {},
    "by network, no fields": {"network": _RATE, "headers": "none"},
    "by user, no fields": {"user": _RATE, "headers": "none"},
    "by network": {"network": _RATE},
    "by user": {"user": _RATE},
    "by user, two windows": {"user": f"{_RATE}, 5000000/2s"},
    "by network and by user": {"network": _RATE, "user": _RATE},
}
"""Limits by what they count, as GATEWAY_LIMITS_* have them."""


@click.command()
@click.option("--requests", default=5_000, show_default=True)
@click.option("--rounds", default=15, show_default=True)
def main(requests: int, rounds: int) -> None:
    """Measure each kind of limit."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(requests, rounds))


async def _main(requests: int, rounds: int) -> None:
    stages = {name: await stage(limits=limits) for name, limits in VARIANTS.items()}
    best = dict.fromkeys(stages, float("inf"))
    for _ in range(rounds):
        for name, (exchange, token) in stages.items():
            best[name] = min(best[name], _timed(exchange, [TERSE % token] * requests))
    without = best["no limit"]
    for name, seconds in best.items():
        more = 1e6 * (seconds - without) / requests
        click.echo(f"{name:24} {1e6 * seconds / requests:6.2f} us a request  {more:+6.2f}")


def _timed(exchange: Exchange, messages: list[bytes]) -> float:
    began = time.perf_counter()
    exchange(messages, [ANSWER])
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
