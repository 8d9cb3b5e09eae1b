"""An upstream of these tests that treats a browser's session as the Whatomate servers of 2026 were seen to."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import jwt
from aiohttp import BodyPartReader, WSMsgType, web

from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Claims = dict[str, Any]
    Handler = Callable[[web.Request, Claims], Awaitable[web.StreamResponse]]

PAGE = Path(__file__).with_name("page.html")
BODY_BYTES, FRAME_BYTES = 15 << 20, 512
ACCESS_SECONDS, REFRESH_SECONDS = 900, 86400
UNSAFE = {"POST", "PUT", "DELETE", "PATCH"}


def refusal(status: HTTPStatus, message: str) -> web.Response:
    """Answer as Whatomate does when it refuses."""
    return web.json_response({"status": "error", "message": message, "data": None}, status=status)


def success(**fields: object) -> web.Response:
    """Answer as Whatomate does when all is well."""
    return web.json_response({"status": "success", "data": fields})


@dataclass
class Whatomate:
    """The upstream, and what it saw.

    Attributes:
        port: Where it listens on loopback.
        members: User id to the organizations that they may act in, beside the one of their token.
        stranger: The user whom the identity provider signs in, and their organization and e-mail.
        cookies: The ``Cookie`` header of every request to its API.
        frames: The text frames of every WebSocket, in order of arrival.
        origins: The ``Origin`` of every WebSocket.
        pongs: How many of its pings were answered.
    """

    port: int = 0
    members: dict[UUID, set[UUID]] = field(default_factory=dict)
    stranger: tuple[UUID, UUID, str] | None = None
    cookies: list[str | None] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    origins: list[str | None] = field(default_factory=list)
    pongs: int = 0

    def claims(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that Whatomate accepts; it takes any that the shared secret signed."""
        try:
            return dict(jwt.decode(token, SECRET, algorithms=["HS256"]))
        except jwt.PyJWTError:
            return None

    def closed(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Check the CSRF token, then the credential, as its middleware does, before `handler` gets the claims."""

        async def checked(request: web.Request) -> web.StreamResponse:
            self.cookies.append(request.headers.get("Cookie"))
            authorization, access = request.headers.get("Authorization"), request.cookies.get("whm_access")
            if request.method in UNSAFE and authorization is None and access is not None:
                csrf = request.cookies.get("whm_csrf")
                if csrf is None or request.headers.get("X-CSRF-Token") != csrf:
                    return refusal(HTTPStatus.FORBIDDEN, "CSRF token mismatch")
            token = access if authorization is None else authorization.removeprefix("Bearer ")
            if token is None:
                return refusal(HTTPStatus.UNAUTHORIZED, "Missing authorization")
            claims = self.claims(token)
            if claims is None:
                return refusal(HTTPStatus.UNAUTHORIZED, "Invalid or expired token")
            return await handler(request, claims)

        return checked

    def organization(self, request: web.Request, claims: Claims) -> str:
        """Return the caller's organization: ``X-Organization-ID``'s if they may, else their token's."""
        wanted = request.headers.get("X-Organization-ID", "")
        with suppress(ValueError):
            if UUID(wanted) in self.members.get(UUID(claims["user_id"]), set()):
                return wanted
        return str(claims["organization_id"])

    async def me(self, _request: web.Request, claims: Claims) -> web.Response:
        """Tell callers themselves; the organization header is not looked at here."""
        return success(id=claims["user_id"], email=claims["email"], organization_id=claims["organization_id"])

    async def contacts(self, request: web.Request, claims: Claims) -> web.Response:
        """Tell in which organization the contacts would be read."""
        return success(organization_id=self.organization(request, claims))

    async def take(self, request: web.Request, _claims: Claims) -> web.Response:
        """Take an upload, a multipart form with a file in it."""
        parts = await request.multipart()
        digest, size = hashlib.sha256(), 0
        while (part := await parts.next()) is not None:
            assert isinstance(part, BodyPartReader)
            if part.name == "file":
                while chunk := await part.read_chunk(1 << 16):
                    digest.update(chunk)
                    size += len(chunk)
        return success(size=size, sha256=digest.hexdigest())

    async def give(self, request: web.Request, _claims: Claims) -> web.Response:
        """Give an export, a file to download."""
        wanted = await request.json()
        assert wanted["table"] == "contacts"
        disposition = "attachment; filename=contacts_20260530.csv"
        return web.Response(
            text="Phone Number,Name\n15550100,Zoë\n",
            content_type="text/csv",
            headers={"Content-Disposition": disposition},
        )

    async def begin(self, request: web.Request) -> web.Response:
        """Send the browser to the identity provider, which is a page of this server."""
        back = f"http://{request.headers['Host']}/api/auth/sso/custom/callback"
        query = urlencode({"redirect_uri": back, "state": "a-nonce"})
        raise web.HTTPTemporaryRedirect(f"http://127.0.0.1:{self.port}/provider?{query}")

    async def provider(self, request: web.Request) -> web.Response:
        """Sign anybody in and send them back, as an identity provider without questions would."""
        query = urlencode({"code": "a-code", "state": request.query["state"]})
        raise web.HTTPTemporaryRedirect(f"{request.query['redirect_uri']}?{query}")

    async def callback(self, request: web.Request) -> web.Response:
        """Set the three cookies where Whatomate sets them, and redirect into the client."""
        assert (request.query["code"], request.query["state"]) == ("a-code", "a-nonce")
        answer = web.Response(
            status=HTTPStatus.TEMPORARY_REDIRECT,
            headers={"Location": f"http://{request.headers['Host']}/auth/sso/callback"},
        )
        for name, value, seconds, path, hidden in (
            ("whm_access", self.token(ACCESS_SECONDS), ACCESS_SECONDS, "/api", True),
            (
                "whm_refresh",
                self.token(REFRESH_SECONDS, jti=str(uuid4())),
                REFRESH_SECONDS,
                "/api/auth/refresh",
                True,
            ),
            ("whm_csrf", uuid4().hex, REFRESH_SECONDS, "/", False),
        ):
            answer.set_cookie(name, value, max_age=seconds, path=path, httponly=hidden, samesite="Lax")
        return answer

    def token(self, seconds: int, **more: str) -> str:
        """Sign a token for the stranger with the claims that Whatomate gives it."""
        assert self.stranger is not None
        user, organization, email = self.stranger
        now = int(time.time())
        claims = {"user_id": str(user), "organization_id": str(organization), "email": email}
        times = {"is_super_admin": False, "iss": "whatomate", "iat": now, "exp": now + seconds}
        return jwt.encode({**claims, **times, **more}, SECRET, algorithm="HS256")

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Upgrade for everybody; the first message must be the credential, and none may have more than 512 bytes."""
        line = web.WebSocketResponse(max_msg_size=FRAME_BYTES, autoping=False)
        await line.prepare(request)
        self.origins.append(request.headers.get("Origin"))
        known = False
        async for message in line:
            if message.type is WSMsgType.PONG:
                self.pongs += 1
                await line.send_str(json.dumps({"type": "pong", "payload": None}))
            if message.type is not WSMsgType.TEXT:
                continue
            self.frames.append(message.data)
            said = json.loads(message.data)
            if not known:
                if said["type"] != "auth" or self.claims(said["payload"]["token"]) is None:
                    await line.close(code=1008, message=b"authentication failed")
                    break
                known = True
            elif said["type"] == "ping":
                await line.ping()  # its `pong` goes out once the client has answered this one
        return line

    async def page(self, _request: web.Request) -> web.Response:
        """Serve the client, whatever the path: it is a single page."""
        return web.Response(text=await asyncio.to_thread(PAGE.read_text), content_type="text/html")

    def application(self) -> web.Application:
        """Return the application with all handlers, by path."""
        application = web.Application(client_max_size=BODY_BYTES)
        application.add_routes(
            [
                web.get("/api/me", self.closed(self.me)),
                web.get("/api/contacts", self.closed(self.contacts)),
                web.post("/api/import", self.closed(self.take)),
                web.post("/api/export", self.closed(self.give)),
                web.get("/api/auth/sso/custom/init", self.begin),
                web.get("/api/auth/sso/custom/callback", self.callback),
                web.get("/provider", self.provider),
                web.get("/ws", self.socket),
                web.get("/{path:.*}", self.page),
            ]
        )
        return application


@asynccontextmanager
async def whatomate() -> AsyncIterator[Whatomate]:
    """Start the upstream on a free port of loopback."""
    server = Whatomate()
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.1)  # sockets stay open
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()
