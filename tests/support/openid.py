"""An identity provider of the tests' own, which lies where a test wants it to; and a browser that goes there."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit
from uuid import uuid4

import jwt
import pytest
from aiohttp import web

from authcore.crypto.pem import generate_pem
from tests.support.calls import ask, get
from tests.support.issuers import loaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from uuid import UUID

    from gateway.app import Gateway
    from tests.support.peers import Message
    from tests.support.worlds import Start, World

CLIENT, SECRET = "whatomate-client", "secret of the client: %/+"
SSO = "/api/auth/sso"
LOOPBACK = "127.0.0.0/8"


@cache
def signing_key(name: str) -> bytes:
    """One key for all tests: to make one takes longer than most of them."""
    del name
    return generate_pem("RS256")


@dataclass
class Issued:
    """An authorization code that is on its way."""

    nonce: str | None
    challenge: str
    callback: str


@dataclass
class OpenId:
    """The provider.

    Attributes:
        url: Its issuer.
        user: What it says about the user who signs in.
        id_token: Changes to the claims of the ID token; None leaves a claim out.
        document: Changes to its document.
        token: Makes the ID token of its claims; the key of the issuer signs it.
        token_answer: Changes to the token endpoint's answer.
        emails: What GitHub lists.
        seen: Paths that were asked for, with what was sent.
        names_issuer: The callback has ``iss``.
        silent: Ends of paths whose requests are not answered.
        held: The requests to them.
    """

    url: str = ""
    user: dict[str, Any] = field(default_factory=dict)
    id_token: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    token: Callable[[dict[str, Any]], str] | None = None
    token_answer: dict[str, Any] = field(default_factory=dict)
    emails: list[dict[str, Any]] = field(default_factory=list)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    codes: dict[str, Issued] = field(default_factory=dict)
    names_issuer: bool = True
    post_only: bool = False
    silent: tuple[str, ...] = ()
    held: list[web.Request] = field(default_factory=list)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def signed(self, claims: dict[str, Any], key: str = "key of the issuer", **header: Any) -> str:
        """Sign claims with a key."""
        private, _ = loaded(signing_key(key))
        return jwt.encode(claims, private, "RS256", {"kid": key, **header})

    def paths(self) -> list[str]:
        return [path for path, _ in self.seen]

    async def handle(self, request: web.Request) -> web.Response:
        sent = {name: values[0] for name, values in parse_qs((await request.read()).decode()).items()}
        self.seen.append((request.path, {**sent, "authorization": request.headers.get("Authorization", "")}))
        if request.path.endswith(self.silent):
            self.held.append(request)
            await self.closing.wait()
        if request.path.endswith("/.well-known/openid-configuration"):
            return web.json_response(self.described(request))
        answers: dict[str, Callable[[], web.Response]] = {
            "/jwks": self.keys,
            "/userinfo": lambda: web.json_response(self.user),
            "/me": lambda: web.json_response(self.user),
            "/api/v3/user": lambda: web.json_response(self.user),
            "/api/v3/user/emails": lambda: web.json_response(self.emails),
            "/token": lambda: self.tokens(request, sent),
            "/oauth/access_token": lambda: self.tokens(request, sent),
            "/login/oauth/access_token": lambda: self.tokens(request, sent),
        }
        answer = answers.get(request.path)
        return web.Response(status=404) if answer is None else answer()

    def described(self, request: web.Request) -> dict[str, Any]:
        issuer = self.url + request.path.removesuffix("/.well-known/openid-configuration")
        made = {
            "issuer": issuer,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "end_session_endpoint": f"{self.url}/leave",
            "jwks_uri": f"{self.url}/jwks",
            "authorization_response_iss_parameter_supported": self.names_issuer,
            **self.document,
        }
        return {name: value for name, value in made.items() if value is not None}

    def keys(self) -> web.Response:
        public = loaded(signing_key("key of the issuer"))[1].public or {}
        return web.json_response({"keys": [{**public, "kid": "key of the issuer"}]})

    def authorize(self, url: str, **changes: str | None) -> str:
        """Sign the user in, and return where the browser is sent back to."""
        asked = dict(parse_qsl(urlsplit(url).query))
        assert asked["client_id"] == CLIENT
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = uuid4().hex
        self.codes[code] = Issued(asked.get("nonce"), asked["code_challenge"], asked["redirect_uri"])
        answer = {
            "state": asked["state"],
            "code": code,
            "iss": self.url if self.names_issuer else None,
            **changes,
        }
        query = urlencode({name: value for name, value in answer.items() if value is not None})
        return f"{asked['redirect_uri']}?{query}"

    def tokens(self, request: web.Request, sent: dict[str, str]) -> web.Response:
        issued = self.codes.pop(sent.get("code", ""), None)
        if not self._knows(request, sent):
            if issued is not None and self.post_only:
                self.codes[sent["code"]] = issued
            return web.json_response({"error": "invalid_client"}, status=401)
        digest = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if issued is None or issued.challenge != challenge or issued.callback != sent["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": "subject 1",
            "exp": now + 300,
            "iat": now,
            "nonce": issued.nonce,
            **self.user,
            **self.id_token,
        }
        made = {name: value for name, value in claims.items() if value is not None}
        token = (self.token or self.signed)(made)
        answer = {"access_token": "access token of the provider", "token_type": "Bearer", "id_token": token}
        answer.update(self.token_answer)
        return web.json_response({name: value for name, value in answer.items() if value is not None})

    def _knows(self, request: web.Request, sent: dict[str, str]) -> bool:
        scheme, _, pair = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic" and not self.post_only:
            name, _, secret = base64.b64decode(pair).decode().partition(":")
            return (unquote_plus(name), unquote_plus(secret)) == (CLIENT, SECRET)
        return (sent.get("client_id"), sent.get("client_secret")) == (CLIENT, SECRET)

    def settings(self, **changes: Any) -> dict[str, Any]:
        """The settings of a gateway that hosts single sign-on with it."""
        provider = {
            "private_networks": LOOPBACK,
            "custom_issuer": self.url,
            "google_url": self.url,
            "microsoft_url": self.url,
            "github_url": self.url,
            "facebook_url": self.url,
            "timeout_seconds": 10,
            **changes,
        }
        return {"sso": "hosted", "provider": provider, "cookie": {"secure": False}}


@asynccontextmanager
async def openid() -> AsyncIterator[OpenId]:
    """Serve a provider on loopback."""
    one = OpenId(user={"email": "agent@example.com", "email_verified": True, "name": "Agent Smith"})
    loaded(signing_key("key of the issuer"))
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", one.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield one
    finally:
        one.closing.set()
        await runner.cleanup()


@pytest.fixture
async def idp() -> AsyncIterator[OpenId]:
    """A provider on loopback."""
    async with openid() as one:
        yield one


async def enable(world: World, kind: str, **columns: Any) -> None:
    """Make or replace the row of a kind of provider, in the home organization unless another is named."""
    row = {
        "organization_id": world.home,
        "provider": kind,
        "client_id": CLIENT,
        "client_secret": SECRET,
        "is_enabled": True,
        **columns,
    }
    await world.sql(
        "DELETE FROM sso_providers WHERE provider = $1 AND organization_id = $2", kind, row["organization_id"]
    )
    names = ", ".join(row)
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    insert = f"INSERT INTO sso_providers ({names}) VALUES ({places})"  # noqa: S608 -- names of the test's own
    await world.sql(insert, *row.values())


async def by_row(world: World, idp: OpenId, organization: UUID, **columns: Any) -> None:
    """Make `idp` the custom provider that a row of the organization names by its URLs."""
    urls = {
        "auth_url": f"{idp.url}/authorize",
        "token_url": f"{idp.url}/token",
        "user_info_url": f"{idp.url}/userinfo",
    }
    await enable(world, "custom", organization_id=organization, **urls, **columns)


async def vouch(world: World, *names: str) -> None:
    """Say that the e-mails of users are their own."""
    await world.store.vouch([f"{name}@example.com" for name in names])


@dataclass
class Traveller:
    """A browser with its cookies, and where it is sent."""

    gate: Gateway
    cookies: dict[str, str] = field(default_factory=dict)

    async def fetch(self, target: str, *lines: str) -> Message:
        """Ask for a target with the cookies, and store those that the answer sets."""
        pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await ask(self.gate, get(target, *([f"Cookie: {pairs}"] if pairs else []), *lines))
        for line in answer.all("Set-Cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    async def begin(self, kind: str = "custom") -> str:
        """Begin a sign-in, and return the URL at the provider."""
        answer = await self.fetch(f"{SSO}/{kind}/init")
        assert answer.status == 307, answer.body
        return answer.one("Location") or ""

    async def come_back(self, url: str) -> Message:
        """Follow the provider's redirect to the callback."""
        parts = urlsplit(url)
        return await self.fetch(f"{parts.path}?{parts.query}")

    async def sign_in(self, provider: OpenId, kind: str = "custom") -> Message:
        """Go to the provider and back, and return the answer of the callback."""
        return await self.come_back(provider.authorize(await self.begin(kind)))


async def hosting(world: World, start: Start, idp: OpenId) -> Gateway:
    """A gateway with the custom provider enabled, at which the agent's e-mail is believed."""
    await enable(world, "custom")
    await vouch(world, "agent")
    return await start(world.url, **idp.settings())


def landed(answer: Message) -> dict[str, str]:
    """The tokens with which a bearer client lands."""
    assert answer.status == 307, answer.body
    place, _, fragment = (answer.one("Location") or "").partition("#")
    assert place == "/auth/sso/callback", answer.one("Location")
    return dict(parse_qsl(fragment))


def sent_back(answer: Message) -> str:
    """The words that the login page shows."""
    assert answer.status == 307, answer.body
    place, _, query = (answer.one("Location") or "").partition("?")
    assert place == "/login", answer.one("Location")
    assert "#" not in query
    ((name, words),) = parse_qsl(query)
    assert name == "sso_error"
    return words
