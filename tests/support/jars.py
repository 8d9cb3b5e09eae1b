"""A browser's cookie storage by RFC 6265, or by its successor (RFC 6265bis): what is stored, and what is sent again."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from tests.support.calls import ask

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from gateway.app import Gateway
    from tests.support.peers import Message

CookieKey = tuple[str, str, str, bool]
"""Name, domain, path, for the host alone."""


@dataclass
class StoredCookie:
    value: str
    since: int
    http_only: bool = False


@dataclass
class Jar:
    """Cookie jar of one browser, of the site at `host`.

    Attributes:
        host: Where its pages are from.
        bis: It keeps a cookie for the host and one for a domain of the same name apart (RFC 6265bis section 5.7, step
            23), as Chromium and Firefox do; RFC 6265 section 5.3, step 11, has them replace one another.
    """

    host: str
    bis: bool = True
    cookies: dict[CookieKey, StoredCookie] = field(default_factory=dict)
    _clock: count[int] = field(default_factory=count)

    def set(self, line: str, requested: str = "/") -> None:
        """Take a Set-Cookie line, as section 5.3 says."""
        pair, *rest = line.split(";")
        name, mark, value = (part.strip() for part in pair.partition("="))
        if not mark or not name:
            return
        attributes = {
            key.strip().lower(): text.strip() for key, _, text in (one.partition("=") for one in rest)
        }
        domain = attributes.get("domain", "").lstrip(".").lower()
        if domain and not (self.host == domain or self.host.endswith(f".{domain}")):
            return
        path = attributes.get("path", "")
        if not path.startswith("/"):
            path = requested.rpartition("/")[0] or "/"
        place = (name, domain or self.host, path, not domain)
        known = [one for one in self.cookies if one[:3] == place[:3] and (one == place or not self.bis)]
        since = next(self._clock)
        for one in known:
            since = self.cookies.pop(one).since
        if attributes.get("max-age", "1").lstrip("-") == "0" or "1970" in attributes.get("expires", ""):
            return
        self.cookies[place] = StoredCookie(value, since, "httponly" in attributes)

    def take(self, answer: Message, requested: str) -> None:
        for line in answer.all("Set-Cookie"):
            self.set(line, requested)

    def sent_to(self, path: str) -> list[str]:
        """The Cookie line for a path, if there is one: longer paths first, then older cookies (section 5.4)."""
        matching = [
            (-len(place[2]), cookie.since, f"{place[0]}={cookie.value}")
            for place, cookie in self.cookies.items()
            if (place[1] == self.host or not place[3])
            and (path == place[2] or path.startswith(place[2].rstrip("/") + "/"))
        ]
        return [f"Cookie: {'; '.join(pair for *_, pair in sorted(matching))}"] if matching else []

    def csrf(self, page: str = "/") -> str:
        """Return the CSRF line of Whatomate's client on a page: the first of document.cookie."""
        seen = [
            (-len(place[2]), cookie.since, cookie.value)
            for place, cookie in self.cookies.items()
            if place[0] == "whm_csrf" and page.startswith(place[2])
        ]
        return f"X-CSRF-Token: {min(seen)[2]}"

    @property
    def places(self) -> AbstractSet[tuple[str, str, str]]:
        """Name, domain (with a dot before it where it is one) and path of each cookie."""
        return {(name, domain if alone else f".{domain}", path) for name, domain, path, alone in self.cookies}

    async def ask(
        self, gate: Gateway, method: str, path: str, *lines: str, body: bytes | None = None
    ) -> Message:
        """Send a request as a page of the host would, with the cookies; and keep what comes back."""
        fields = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", *self.sent_to(path), *lines]
        if method != "GET":
            fields += [f"Origin: https://{self.host}", "Sec-Fetch-Site: same-origin"]
        if body is not None:
            fields += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        answer = await ask(gate, "\r\n".join([*fields, "", ""]).encode() + (body or b""))
        self.take(answer, path)
        return answer
