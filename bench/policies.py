"""Micro-benchmark of traffic policies and rate limits: what each adds to a warm request, in microseconds.

``python -m bench.policies`` measures as :mod:`bench.hotpath` does, one gateway for each policy, in turns: what the
machine does meanwhile falls on all of them alike. No limit refuses, and no request is sent again.
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
_LIMITS: Final[dict[str, dict[str, str]]] = {
    "limit by network, no fields": {"network": _RATE, "headers": "none"},
    "limit by user, no fields": {"user": _RATE, "headers": "none"},
    "limit by network": {"network": _RATE},
    "limit by user": {"user": _RATE},
    "limit by user, two windows": {"user": f"{_RATE}, 5000000/2s"},
    "limits by network and user": {"network": _RATE, "user": _RATE},
}
_TRAFFIC: Final[dict[str, dict[str, object]]] = {
    "breaker": {"breaker_requests": 1000},
    "retries": {"retry_when": ["stale", "connect-failure", "reset"]},
    "retries, a limit for each": {
        "retry_when": ["stale", "connect-failure", "reset"],
        "retry_try_timeout_seconds": 30,
    },
    "deadline": {"deadline_seconds": 60},
}
VARIANTS: Final[dict[str, dict[str, object]]] = {
    "none": {},
    **{name: {"limits": group} for name, group in _LIMITS.items()},
    **{name: {"upstream": {"url": "http://127.0.0.1:1", **group}} for name, group in _TRAFFIC.items()},
    "shedding": {"shed": {"lag_seconds": 10}},
}
"""Groups of settings, as GATEWAY_LIMITS_*, GATEWAY_UPSTREAM_* and GATEWAY_SHED_* have them."""


@click.command()
@click.option("--requests", default=5_000, show_default=True)
@click.option("--rounds", default=15, show_default=True)
def main(requests: int, rounds: int) -> None:
    """Measure each policy."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(requests, rounds))


async def _main(requests: int, rounds: int) -> None:
    stages = {name: await stage(**groups) for name, groups in VARIANTS.items()}
    best = dict.fromkeys(stages, float("inf"))
    for _ in range(rounds):
        for name, (exchange, tokens) in stages.items():
            best[name] = min(best[name], _timed(exchange, [TERSE % tokens[0]] * requests))
    without = best["none"]
    for name, seconds in best.items():
        more = 1e6 * (seconds - without) / requests
        click.echo(f"{name:28} {1e6 * seconds / requests:6.2f} us a request  {more:+6.2f}")


def _timed(exchange: Exchange, messages: list[bytes]) -> float:
    began = time.perf_counter()
    exchange(messages, [ANSWER])
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
