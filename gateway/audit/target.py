"""Target of an audit: the deployment, the operator's description of it, and the requests that several checks send."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.audit.asking import AGENT
from gateway.audit.check import NotApplicable, Unreachable

if TYPE_CHECKING:
    from gateway.audit.asking import Asker, Response, Url


@dataclass
class Target:
    """Target of an audit.

    Attributes:
        url: The gateway.
        asker: What sends the requests.
        upstream: The service behind it, to be asked directly; None if it is not known.
        protected: A path that needs a credential.
        public: A path that needs none.
        login: The path that takes e-mail and password.
        known_email: The e-mail of an account, to compare with those of none; empty if it is not known.
        sign_ins: Failed sign-ins may be made.
        marker: A word that is nowhere else: where it comes back, what was sent has arrived.
    """

    url: Url
    asker: Asker
    upstream: Url | None = None
    protected: str = "/api/users"
    public: str = "/health"
    login: str = "/api/auth/login"
    known_email: str = ""
    sign_ins: bool = False
    marker: str = field(default_factory=lambda: f"audit{secrets.token_hex(8)}")
    _remembered: dict[str, Response] = field(default_factory=dict, repr=False)

    def request(self, method: str, path: str, *lines: str, body: bytes = b"") -> bytes:
        """Return a well-formed request with the field lines `lines`."""
        fields = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self.url.authority}",
            AGENT,
            "Connection: close",
            *lines,
        ]
        if body:
            fields.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*fields, "", ""]).encode() + body

    async def ask(self, method: str, path: str, *lines: str, body: bytes = b"") -> Response:
        """Ask the gateway."""
        return await self.asker.ask(self.url, self.request(method, path, *lines, body=body))

    async def send(self, raw: bytes) -> Response:
        """Send bytes to the gateway as they are."""
        return await self.asker.ask(self.url, raw)

    async def once(self, path: str) -> Response:
        """Return the answer to a plain GET, which is asked once in an audit."""
        if path not in self._remembered:
            self._remembered[path] = await self.ask("GET", path)
        return self._remembered[path]

    async def answers(self) -> None:
        """Look whether there is an HTTP server at all: silence refuses nothing.

        Raises:
            Unreachable: what comes back for the public path is no HTTP.
        """
        if (await self.once(self.public)).status == 0:
            raise Unreachable(f"{self.url} answers nothing that is HTTP")

    async def refused(self) -> Response:
        """Return the answer to the protected path without a credential.

        Raises:
            NotApplicable: it is not refused, so that nothing can be seen to break the rule.
        """
        answer = await self.once(self.protected)
        if answer.status not in {401, 403}:
            raise NotApplicable(
                f"{self.protected} is {answer.status} without a credential; name a path that needs one with --protected"
            )
        return answer

    async def opened(self) -> Response:
        """Return the answer to the public path.

        Raises:
            NotApplicable: it is no success.
        """
        answer = await self.once(self.public)
        if not answer.succeeded:
            raise NotApplicable(
                f"{self.public} is {answer.status}; name a path that is open to all with --public"
            )
        return answer

    async def gives_away(self, answer: Response) -> bool:
        """Return whether an answer is a success, and not the page that this deployment gives for any path."""
        if not answer.succeeded:
            return False
        any_path = await self.once(f"/{self.marker}")
        is_page = any_path.succeeded and "html" in any_path.one("content-type")
        return not (is_page and answer.body == any_path.body)

    async def sign_in(self, email: str) -> Response:
        """Fail to sign in as `email`."""
        document = json.dumps({"email": email, "password": f"wrong-{self.marker}"}).encode()
        return await self.ask("POST", self.login, "Content-Type: application/json", body=document)
