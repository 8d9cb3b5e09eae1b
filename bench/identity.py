"""Benchmark of the identity cache: ``python -m bench.identity [hit memory revocation flood recovery]``.

``hit`` and ``memory`` need nothing. The others start a PostgreSQL of their own, gateways as separate processes and an
upstream in this process. Each function describes what it measures; ``identity.md`` has the results.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import click

from authcore.credentials import BearerToken
from authcore.identity.api_keys import ApiKeys, LastUsed
from authcore.identity.authenticator import Authenticator
from authcore.identity.verdict_cache import Limits, VerdictCache
from authcore.passwords.hasher import Passwords
from bench import callers, revocation
from bench.domain import SECRET, day_tokens
from bench.machine import LOAD, UNDER_TEST, describe
from bench.rows import Rows
from config.groups.serving import Header
from gateway.dev.postgres import EmbeddedPostgres
from gateway.proxy.headers import HeaderPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from authcore.principal import Principal
    from authcore.tokens.issuer import Tokens

PRINCIPALS: Final = 100_000
ROUNDS: Final = 9
HITS: Final = 100_000
MEBI: Final = 1 << 20
WHAT: Final = ("hit", "memory", "revocation", "flood", "recovery")


def build(rows: Rows) -> tuple[Authenticator, Tokens, VerdictCache]:
    """Build an authenticator over `rows`, wired as in the gateway."""
    tokens = day_tokens(SECRET)
    memory = VerdictCache(
        Limits(cache_seconds=3600, cache_entries=PRINCIPALS, cache_bytes=1 << 40, stale_seconds=300)
    )
    pool = Passwords(min_length=8, cost=4, workers=1, queue=1).pool
    return (
        Authenticator(rows, tokens, ApiKeys(rows, pool, secret=b"x"), LastUsed(rows), memory),
        tokens,
        memory,
    )


async def fill(authenticator: Authenticator, tokens: Tokens, rows: Rows, now: float) -> list[BearerToken]:
    """Authenticate as many users as the cache holds; return their tokens, which are not the cache's."""
    credentials = []
    for number in range(PRINCIPALS):
        token = tokens.issue_access(
            user_id=uuid4(),
            organization_id=rows.organizations[number % 100],
            email="",
            role_id=None,
            is_super_admin=False,
            now=now,
            session_id=uuid4(),
        )
        credentials.append(BearerToken(token.encode()))
        await authenticator.authenticate(credentials[-1], None, now)
    return credentials


def hits() -> None:
    """Time ``recall`` over 100,000 cached tokens in an order that defeats processor caches; print microseconds."""
    rows = Rows()
    authenticator, tokens, _ = build(rows)
    now = time.time()
    credentials = asyncio.run(fill(authenticator, tokens, rows, now))
    credentials = [credentials[place * 7919 % PRINCIPALS] for place in range(HITS)]
    gc.freeze()
    for name, some in (("100,000 callers in turn", credentials), ("one caller", credentials[:1] * HITS)):
        each = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            for credential in some:
                authenticator.recall(authenticator.key_of(credential, None) or b"", now)
            recalled = time.perf_counter() - begun
            begun = time.perf_counter()
            for _ in some:
                pass
            each.append((recalled - (time.perf_counter() - begun)) / HITS * 1e6)
        click.echo(f"hit, {name}: median {median(each):.2f} us, best {min(each):.2f}, worst {max(each):.2f}")


def memory() -> None:
    """Measure resident memory before and after 100,000 principals, and then with their identity headers too.

    Each role runs in a process of its own: memory that one has freed would be used by the next.
    """
    for role in ("agent", "admin"):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            for line in fresh.submit(_in_memory, role).result():
                click.echo(line)


def _in_memory(role: str) -> list[str]:
    return asyncio.run(_memory(role))


async def _memory(role: str) -> list[str]:
    rows = Rows()
    rows.role = role
    authenticator, tokens, remembered = build(rows)
    now = time.time()
    laws = HeaderPolicy(Header.model_validate({}).model_dump())
    gc.collect()
    empty = resident()
    credentials = await fill(authenticator, tokens, rows, now)
    gc.collect()
    total = resident() - empty
    # The credentials belong to the benchmark, not to the cache: a list of objects with one bytes object each.
    ours = sys.getsizeof(credentials) + sum(
        sys.getsizeof(one) + sys.getsizeof(one.secret) for one in credentials
    )
    cached = total - ours
    for credential in credentials:
        found: Principal | None = authenticator.recall(authenticator.key_of(credential, None) or b"", now)
        if found is not None:
            laws.identity(found)
    gc.collect()
    headed = resident() - empty - ours
    values = {figure.name: figure.read() for figure in remembered.figures()}
    name = f"memory, {role}"
    counted = f"the cache counts {values['bytes'] / MEBI:.1f} MiB"
    return [
        f"{name}: {values['entries']:.0f} principals, {cached / MEBI:.1f} MiB, {cached / PRINCIPALS:.0f} bytes each",
        f"{name}, with headers: {headed / MEBI:.1f} MiB, {headed / PRINCIPALS:.0f} bytes each; {counted}",
    ]


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def gateways(
    url: str, upstream: int, count: int, cores: Iterable[int]
) -> AsyncIterator[list[tuple[str, int]]]:
    """Run `count` gateways as separate processes on `cores`; yield their addresses."""
    environment = {
        "GATEWAY_DATABASE_URL": url,
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{upstream}",
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
        "GATEWAY_LOG_ACCESS": "false",
        "GATEWAY_IDENTITY_CACHE_SECONDS": "3600",
        "GATEWAY_IDENTITY_REFUSED_SECONDS": "3600",
    }
    running, addresses = [], []
    try:
        for _ in range(count):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "serve"),
                env={**os.environ, **environment},
                stdout=asyncio.subprocess.PIPE,
            )
            running.append(process)
            os.sched_setaffinity(process.pid, cores)
            line = json.loads(await process.stdout.readline() if process.stdout else b"")
            addresses.append((line["public"][0], int(line["public"][1])))
        yield addresses
    finally:
        for process in running:
            process.terminate()
            await process.communicate()


def over_sockets(*, trials: int, seconds: float, returns: int) -> None:
    """Run the benchmarks that need a database, gateways and an upstream."""
    with tempfile.TemporaryDirectory(prefix="whatomate-bench-") as work:
        Path(work).chmod(0o755)  # under root the server runs as another user, which must be able to enter
        with EmbeddedPostgres(Path(work) / "postgres", durable=False) as postgres:
            asyncio.run(_over_sockets(postgres, trials, seconds, returns))


async def _over_sockets(postgres: EmbeddedPostgres, trials: int, seconds: float, returns: int) -> None:
    url, every = postgres.url, os.sched_getaffinity(0)
    site = await callers.people(url, SECRET)
    upstream = await asyncio.start_server(callers.answer, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    if trials:
        async with gateways(url, port, 2, every) as addresses:
            for kind in revocation.KINDS:
                taken = await revocation.trials(site, addresses, kind, trials)
                click.echo(f"revocation, {kind.name}: {summary(taken)}")
    if seconds:  # the gateway alone on one core, as in the other benchmarks; all else on the other
        _pin(postgres.pid or 0, {LOAD})
        async with gateways(url, port, 1, {UNDER_TEST}) as addresses:
            for line in await revocation.flood(site, addresses[0], seconds):
                click.echo(line)
    if seconds:
        _pin(postgres.pid or 0, every)
    for way in ("stopped", "paused"):
        if returns:
            async with gateways(url, port, 1, every) as addresses:
                back = [
                    await revocation.recovery(postgres, addresses[0], site.unknown_callers, way)
                    for _ in range(returns)
                ]
                click.echo(
                    f"recovery, {way}: {returns} times, median {median(back):.2f} s, worst {max(back):.2f}"
                )
    upstream.close()


def _pin(server: int, cores: set[int]) -> None:
    """Pin this process, the database and their later children to `cores`."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    for pid in (0, server, *map(int, children)):
        with suppress(ProcessLookupError):  # a backend whose client has just left
            os.sched_setaffinity(pid, cores)


def summary(taken: list[float]) -> str:
    """Return the quantiles of `taken` (seconds), as text in milliseconds."""
    p50, p90, p99 = (quantiles(taken, n=100)[place] * 1000 for place in (49, 89, 98))
    worst = max(taken) * 1000
    return f"{len(taken)} trials, p50 {p50:.1f} ms, p90 {p90:.1f}, p99 {p99:.1f}, worst {worst:.1f}"


@click.command()
@click.argument("what", nargs=-1, type=click.Choice(WHAT))
@click.option("--hit", is_flag=True, help="As the argument.")
@click.option("--trials", default=200, show_default=True, help="Revocations of each kind.")
@click.option(
    "--seconds", default=5.0, show_default=True, help="Of each round of the flood, and of each quiet one."
)
@click.option("--returns", default=10, show_default=True, help="Times the database goes away and comes back.")
def main(*, what: tuple[str, ...], hit: bool, trials: int, seconds: float, returns: int) -> None:
    """Measure WHAT, or all of it, and print a line for each figure."""
    chosen = {*what, *(["hit"] if hit else [])} or set(WHAT)
    click.echo(describe())
    if "hit" in chosen:
        hits()
    if "memory" in chosen:
        memory()
    if chosen & {"revocation", "flood", "recovery"}:
        over_sockets(
            trials=trials * ("revocation" in chosen),
            seconds=seconds * ("flood" in chosen),
            returns=returns * ("recovery" in chosen),
        )


if __name__ == "__main__":
    main()
