"""People: clients of both gateways, who keep every token they were given and use each at both."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt

from tests.runbook.site import Refused
from tests.support.calls import ask_at, bearer, get, post, whatomate_token
from tests.support.peers import PATIENCE
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from tests.runbook.site import Replica, Site
    from tests.support.peers import Message
    from tests.support.worlds import World

WHOAMI, CONTACTS = "/api/auth/whoami", "/api/contacts"


@dataclass
class Pair:
    """Tokens of one sign-in, and the gateway that issued them."""

    access: str
    refresh: str
    at: Replica


class People:
    """Clients of a site."""

    def __init__(self, site: Site, world: World) -> None:
        self.site = site
        self.world = world
        self.pairs: list[Pair] = []
        self.keys = [world.api_key]
        self.tokens: list[str] = []

    async def sign_in(
        self, replica: Replica, email: str = "agent@example.com", password: str = PASSWORD
    ) -> Pair:
        """Sign in at a gateway.

        Raises:
            Refused: the gateway does not say yes.
        """
        answer = await ask_at(
            replica.address, post("/api/auth/login", {"email": email, "password": password})
        )
        return self._pair(answer, replica)

    async def refreshed(self, pair: Pair, replica: Replica) -> Pair:
        """Refresh at a gateway.

        Raises:
            Refused: the gateway does not say yes.
        """
        body = {"refresh_token": pair.refresh}
        return self._pair(await ask_at(replica.address, post("/api/auth/refresh", body)), replica)

    def _pair(self, answer: Message, replica: Replica) -> Pair:
        if answer.status != 200:
            raise Refused(f"{replica}: {answer.status} {answer.body!r}")
        tokens: dict[str, Any] = answer.json()["data"]
        self.tokens.append(tokens["access_token"])
        return Pair(tokens["access_token"], tokens["refresh_token"], replica)

    async def status(self, replica: Replica, line: str, path: str = WHOAMI) -> int:
        """Return the status that a gateway answers a credential with."""
        return (await ask_at(replica.address, get(path, line))).status

    async def everybody_is_known(self) -> None:
        """Promise: every token that any gateway has issued, and every API key, is good at every gateway that runs.

        Raises:
            Refused: one of them is not.
        """
        for replica in self.site.up:
            self.pairs.append(await self.sign_in(replica))
        await self.all_tokens_are_good()
        # The oldest are refreshed, each where it was not issued if both run.
        oldest, self.pairs = self.pairs[:2], self.pairs[2:]
        for pair in oldest:
            others = [one for one in self.site.up if one is not pair.at] or self.site.up
            self.pairs.append(await self.refreshed(pair, others[0]))

    async def all_tokens_are_good(self) -> None:
        """Promise the same, and issue none.

        Raises:
            Refused: one of them is not.
        """
        for replica in self.site.up:
            lines = [*(bearer(token) for token in self.tokens), *(f"X-API-Key: {key}" for key in self.keys)]
            for line in [*lines, bearer(self.of_whatomate())]:
                status = await self.status(replica, line)
                if status != 200:
                    raise Refused(f"{replica}: {status}")

    def of_whatomate(self) -> str:
        """A token that Whatomate signs, by the secret that it has."""
        claims = jwt.decode(
            whatomate_token(self.world.agent, self.world.home), options={"verify_signature": False}
        )
        return jwt.encode(claims, self.site.whatomate.secret, algorithm="HS256")

    async def go_on_at_whatomate(self) -> None:
        """Promise: whoever Whatomate refuses gets through after a refresh, without signing in.

        Raises:
            Refused: somebody would have to sign in.
        """
        for place, pair in enumerate(self.pairs):
            line = bearer(pair.access)
            if await self.status(pair.at, line, CONTACTS) == 401:
                self.pairs[place] = await self.refreshed(pair, pair.at)
                if await self.status(pair.at, bearer(self.pairs[place].access), CONTACTS) != 200:
                    raise Refused("Whatomate refuses a token that was just issued")

    async def renew(self) -> None:
        """Let so much time pass that every token of before has expired: everybody has refreshed."""
        self.tokens.clear()
        self.pairs = [await self.refreshed(pair, pair.at) for pair in self.pairs]

    @staticmethod
    def signer(token: str) -> str | None:
        """Return the kid in a token's header."""
        return jwt.get_unverified_header(token).get("kid")

    async def is_signed_by_another(self, replica: Replica, kid: str) -> None:
        """Wait until a gateway signs by another key than `kid`."""
        async with asyncio.timeout(PATIENCE):
            while self.signer((await self.sign_in(replica)).access) == kid:
                await asyncio.sleep(0.05)

    def forget(self) -> None:
        """Forget all sessions."""
        self.tokens.clear()
        self.pairs.clear()

    async def are_refused(self, lines: list[str]) -> None:
        """Wait until both gateways refuse the credentials by 401; nothing else may come of it, nor a long time.

        Raises:
            Refused: one is answered with another status than 200 and 401.
            TimeoutError: one is still good after long.
        """
        for replica in self.site.up:
            for line in lines:
                async with asyncio.timeout(PATIENCE):
                    while (status := await self.status(replica, line)) != 401:
                        if status != 200:
                            raise Refused(f"{replica}: {status}")
                        await asyncio.sleep(0.01)
