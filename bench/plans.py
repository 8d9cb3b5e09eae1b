"""Plans of the statements behind verdicts, on a crowded database: ``python -m bench.plans``.

The real domain asks, and PostgreSQL's own ``auto_explain`` writes the plan of each statement as it was carried out. No
statement is listed here: one that is added to a verdict is looked at as well. Each kind of verdict is asked for more
often than PostgreSQL plans a prepared statement anew, so that generic plans are seen too.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from collections.abc import Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import asyncpg
import click

from authcore.accounts.sessions import Sessions
from authcore.credentials import ApiKey, BearerToken, PasswordLogin, RefreshToken, Ticket
from authcore.errors import AuthError
from authcore.identity.api_keys import ApiKeys, LastUsed, derive_secret
from authcore.identity.authenticator import Authenticator
from authcore.identity.verdict_cache import Limits, VerdictCache
from authcore.moments import moment
from authcore.passwords.hasher import Passwords
from authcore.principal import ForeignProof
from authcore.store.postgres import PostgresStore
from authcore.store.session_statements import MOST_TOKENS
from bench.crowd import Crowd
from bench.domain import PASSWORD, SECRET, domain
from gateway.dev.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from uuid import UUID

    from authcore.accounts.accounts import Accounts
    from authcore.accounts.token_pairs import TokenPair
    from authcore.tokens.issuer import Tokens

TIMES: Final = 8
"""How often each verdict is asked for: PostgreSQL considers a generic plan from the sixth time on."""
TOGETHER: Final = 32
"""First uses at once, which share a statement."""
_SETTINGS: Final = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_format": "json",
}
_PLAN: Final = re.compile(r"duration: ([\d.]+) ms  plan:\n((?:\t.*\n)+)")


@dataclass
class Looked:
    """Plans seen of one statement of a kind of verdict.

    Attributes:
        milliseconds: How long the server took for each.
        pages: Pages that each touched.
        scans: What tables were read by, and the greatest number of rows that one scan has returned in all.
    """

    milliseconds: list[float] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    scans: dict[str, int] = field(default_factory=dict)

    def add(self, milliseconds: float, plan: Mapping[str, Any]) -> None:
        """Add a plan that was carried out."""
        self.milliseconds.append(milliseconds)
        self.pages.append(int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]))
        for node in _nodes(plan):
            if "Relation Name" in node and node["Actual Loops"]:
                how = f"{node['Node Type']} on {node['Relation Name']}"
                rows = round(node["Actual Rows"] * node["Actual Loops"])
                self.scans[how] = max(self.scans.get(how, 0), rows)


Seen = Mapping[str, Mapping[str, Looked]]
"""What was seen, by kind of verdict and by statement."""


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


class Log:
    """The server's log, from where it was last read."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def plans(self) -> Iterator[tuple[float, str, Mapping[str, Any]]]:
        """Yield milliseconds, statement and plan of each statement that was carried out since the last call."""
        with self._path.open("rb") as log:
            log.seek(self._read)
            text = log.read().decode()
            self._read = log.tell()
        for taken, plan in _PLAN.findall(text):
            found = json.loads(plan)
            yield float(taken), found["Query Text"], found["Plan"]


@asynccontextmanager
async def _explained(url: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(url)
    try:
        for name, value in _SETTINGS.items():
            await connection.execute(f"ALTER DATABASE gateway SET {name} = '{value}'")
        yield
    finally:
        await connection.close()


class Verdicts:
    """Verdicts of each kind, about users of a crowd."""

    def __init__(  # noqa: PLR0913, PLR0917 -- its collaborators
        self,
        crowd: Crowd,
        store: PostgresStore,
        accounts: Accounts,
        tokens: Tokens,
        email: str,
        user_id: UUID,
    ) -> None:
        """`email` and `user_id` are those of a user whose password is ``bench.domain.PASSWORD``."""
        self._crowd, self._store, self._accounts, self._tokens = crowd, store, accounts, tokens
        self._email, self._user = email, user_id
        self._sessions = Sessions(store, tokens)
        self._pair: TokenPair | None = None
        self._number = 0
        self._now = time.time()
        passwords = Passwords(min_length=8, cost=4, workers=1, queue=8)
        keys = ApiKeys(store, passwords.pool, secret=derive_secret(SECRET.encode()))
        memory = VerdictCache(Limits(cache_seconds=3600, cache_entries=100_000))
        self._authenticator = Authenticator(store, tokens, keys, LastUsed(store), memory)
        self.close = passwords.close

    def kinds(self) -> Mapping[str, Callable[[], Awaitable[object]]]:
        """Return what is asked for, by its name in the report."""
        return {
            "token": self._by_token,
            "token, for another organization": self._elsewhere,
            f"{TOGETHER} tokens at once": lambda: asyncio.gather(
                *(self._by_token() for _ in range(TOGETHER))
            ),
            "API key": self._by_key,
            f"{TOGETHER} API keys at once": lambda: asyncio.gather(
                *(self._by_key() for _ in range(TOGETHER))
            ),
            "unknown API key": self._by_unknown_key,
            "ticket": self._by_ticket,
            "open sockets": self._revoked,
            "sign-in": lambda: self._sign_in(self._email, PASSWORD),
            "refresh": self._refresh,
            "switch of organization": self._switch,
            "wrong sign-in": lambda: self._sign_in(f"user{self._next()}@example.com", "wrong"),
        }

    async def _sign_in(self, email: str, password: str) -> object:
        return await self._accounts.login(PasswordLogin(email, password), self._now)

    async def _session(self) -> TokenPair:
        """Return the last tokens of a session that has more of them than are stored of one."""
        if self._pair is None:
            self._pair = (await self._accounts.login(PasswordLogin(self._email, PASSWORD), self._now)).tokens
            for _ in range(MOST_TOKENS):
                await self._refresh()
        return self._pair

    async def _refresh(self) -> object:
        token = RefreshToken((await self._session()).refresh_token)
        self._now += 1
        self._pair = await self._sessions.refresh(token, self._now)
        return self._pair

    async def _switch(self) -> object:
        session = (await self._session()).session_id
        self._now += 1
        return await self._accounts.switch(self._user, self._crowd.organization(0), self._now, session)

    def _next(self) -> int:
        self._number = (self._number + 7919) % self._crowd.users
        return self._number

    async def _by_token(self) -> object:
        token = self._crowd.token(self._tokens, self._next(), self._now)
        return await self._authenticator.authenticate(BearerToken(token.encode()), None, self._now)

    async def _elsewhere(self) -> object:
        number = self._next()
        token = self._crowd.token(self._tokens, number, self._now)
        there = self._crowd.organization(number + 1)
        return await self._authenticator.authenticate(BearerToken(token.encode()), there, self._now)

    async def _by_key(self) -> object:
        return await self._authenticator.authenticate(ApiKey(self._crowd.key(self._next())), None, self._now)

    async def _by_unknown_key(self) -> object:
        key = ApiKey(b"whm_%032x" % self._next())
        return await self._authenticator.authenticate(key, None, self._now)

    async def _by_ticket(self) -> object:
        number = self._next()
        user, organization = self._crowd.user(number), self._crowd.organization(number)
        ticket = self._tokens.issue_ticket(user_id=user, organization_id=organization, now=self._now)
        return await self._authenticator.authenticate(Ticket(ticket.encode()), None, self._now)

    async def _revoked(self) -> object:
        tokens = (self._crowd.token(self._tokens, self._next(), self._now) for _ in range(TOGETHER))
        known = [
            await self._authenticator.authenticate(BearerToken(one.encode()), None, self._now)
            for one in tokens
        ]
        # And as many that act in another organization, by a foreign issuer's token that found its user by e-mail.
        foreign = [
            replace(
                one,
                own_organization_id=one.organization_id,
                organization_id=self._crowd.organization(0),
                foreign=ForeignProof(uuid4(), ("RS256", None, ""), one.email, 0),
            )
            for one in known
        ]
        return await self._store.standings([*known, *foreign], moment(self._now))


async def look(url: str, log: Path, crowd: Crowd) -> Seen:
    """Ask for verdicts of each kind about a crowd, by the database at `url`, whose server writes `log`."""
    seen: dict[str, dict[str, Looked]] = {}
    async with domain(url, SECRET) as (accounts, tokens), _explained(url):
        email = f"bench{time.monotonic_ns()}@example.com"
        registered = await accounts.register(
            email=email,
            password=PASSWORD,
            full_name="Bench",
            organization_id=crowd.organization(0),
            now=time.time(),
        )
        store = await PostgresStore.connect(
            url,
            pool_min=1,
            pool_max=1,
            connect_timeout_seconds=5,
            acquire_timeout_seconds=60,
            statement_timeout_seconds=60,
        )
        verdicts = Verdicts(crowd, store, accounts, tokens, email, registered.user.id)
        written = Log(log)
        try:
            for kind, ask in verdicts.kinds().items():
                list(written.plans())
                for _ in range(TIMES):
                    with suppress(AuthError):
                        await ask()
                seen[kind] = _gathered(written.plans())
        finally:
            verdicts.close()
            await store.close()
    return seen


def _gathered(plans: Iterable[tuple[float, str, Mapping[str, Any]]]) -> dict[str, Looked]:
    seen: dict[str, Looked] = {}
    for taken, statement, plan in plans:
        tables = {node["Relation Name"] for node in _nodes(plan) if "Relation Name" in node}
        # The driver asks once for the types it does not know.
        if any(not table.startswith("pg_") for table in tables):
            seen.setdefault(" ".join(statement.split()), Looked()).add(taken, plan)
    return seen


@click.command()
@click.option("--users", default=1_000_000, show_default=True, help="And as many keys and sessions.")
@click.option("--organizations", default=10_000, show_default=True)
def main(users: int, organizations: int) -> None:
    """Fill a database, ask for verdicts of each kind, and print what their statements did."""
    with tempfile.TemporaryDirectory(prefix="whatomate-bench-") as work:
        Path(work).chmod(0o755)  # under root the server runs as another user, which must be able to enter
        folder = Path(work) / "postgres"
        with EmbeddedPostgres(folder, durable=False) as postgres:
            crowd = Crowd(users, organizations, SECRET)
            asyncio.run(crowd.settle(postgres.url))
            seen = asyncio.run(look(postgres.url, folder / "postgres.log", crowd))
    for kind, statements in seen.items():
        click.echo(f"\n{kind}")
        for statement, looked in statements.items():
            taken = sorted(looked.milliseconds)[len(looked.milliseconds) // 2]
            click.echo(f"  {statement[:90]}")
            click.echo(f"    {len(looked.pages)} times, {taken:.2f} ms, {max(looked.pages)} pages at most")
            for how, rows in sorted(looked.scans.items()):
                click.echo(f"    {how}: {rows}")


if __name__ == "__main__":
    main()
