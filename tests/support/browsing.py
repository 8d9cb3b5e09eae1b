"""A browser's cookie jar, as far as tests need one: by name, path and age."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.calls import ask, post
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Message

LOGIN, REFRESH, LOGOUT, SWITCH = (
    f"/api/auth/{name}" for name in ("login", "refresh", "logout", "switch-org")
)


@dataclass
class Jar:
    """Cookie jar of a browser.

    Attributes:
        values: Of each cookie.
        attributes: Of each cookie, as set last, without its name and value.
    """

    values: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, list[str]] = field(default_factory=dict)

    def take(self, answer: Message) -> list[str]:
        """Keep what an answer sets, drop what it clears; return the names it spoke of, in the order of their last."""
        spoken: list[str] = []
        for line in answer.all("Set-Cookie"):
            pair, *attributes = line.split("; ")
            name, _, value = pair.partition("=")
            spoken = [*(one for one in spoken if one != name), name]
            self.attributes[name] = attributes
            if "Max-Age=0" in attributes:
                assert value == ""
                self.values.pop(name, None)
            else:
                self.values[name] = value
        return spoken

    def sent_to(self, path: str) -> str:
        """The Cookie line for a path."""
        pairs = []
        for name, value in self.values.items():
            (place,) = [one.removeprefix("Path=") for one in self.attributes[name] if one.startswith("Path=")]
            if path == place or path.startswith(place.rstrip("/") + "/"):
                pairs.append(f"{name}={value}")
        return f"Cookie: {'; '.join(pairs)}"

    @property
    def csrf(self) -> str:
        return f"X-CSRF-Token: {self.values['whm_csrf']}"

    async def post(self, gate: Gateway, path: str, content: object, *lines: str) -> Message:
        """Post with the jar's cookies, and keep what comes back."""
        answer = await ask(gate, post(path, content, self.sent_to(path), *lines))
        self.take(answer)
        return answer


async def signed_in(gate: Gateway, name: str = "agent") -> Jar:
    jar = Jar()
    answer = await ask(gate, post(LOGIN, {"email": f"{name}@example.com", "password": PASSWORD}))
    assert answer.status == 200, answer.body
    jar.take(answer)
    return jar
