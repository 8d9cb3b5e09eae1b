"""Checks of how requests are read: paths with two readings, ambiguous framing, size, upgrades, methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.audit.asking import AGENT
from gateway.audit.check import Check, NotApplicable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.audit.target import Target

_REFUSALS: Final = frozenset({0, 400, 501, 505})
"""Statuses that refuse a message for its form; 0 is a connection that is closed without an answer."""
_TOO_LARGE: Final = frozenset({0, 400, 413, 414, 431, 494})
_SWITCHED: Final = 101


def path_forms(protected: str, public: str) -> Iterator[str]:
    """Yield other forms of a protected path, by which a gateway and a server may read two different ones."""
    first, _, rest = protected[1:].partition("/")
    tail = f"/{rest}" if rest else ""
    below = public.rstrip("/") or "/x"
    yield from (
        f"/{first.upper()}{tail}",
        f"/%{ord(first[:1] or 'x'):02x}{first[1:]}{tail}",
        f"{protected}/",
        f"{protected}.",
    )
    yield from (
        f"{protected}%20",
        f"{protected}.json",
        f"{protected};x",
        f"/;x{protected}",
        f"/{first};x{tail}",
    )
    yield from (
        f"/{protected}",
        f"//{first}/{tail}",
        f"/.{protected}",
        f"/%2e{protected}",
        f"{below}/..{protected}",
    )
    yield from (f"{below}/%2e%2e{protected}", f"{below}/..;{protected}", f"{below}/%252e%252e{protected}")
    yield from (
        f"{below}/..%2f{protected[1:]}",
        f"{below}%2f..%2f{protected[1:]}",
        f"/{first}%2f{rest}",
        f"/{first}%5c{rest}",
    )
    yield from (
        f"/\\{protected[1:]}",
        f"{below}\\..{protected}",
        f"{protected}%00",
        f"{protected}%0a",
        f"{protected}%23",
    )
    fullwidth = "".join(f"%{byte:02X}" for byte in chr(ord(first[:1] or "x") + 0xFEE0).encode())
    yield from (f"/{fullwidth}{first[1:]}{tail}", f"{protected}?{public}", f"{protected}#{public}")


async def paths(target: Target) -> list[str]:
    """Ask for the protected path in other forms, with no credential."""
    await target.refused()
    found = []
    for form in path_forms(target.protected, target.public):
        answer = await target.ask("GET", form)
        if await target.gives_away(answer):
            found.append(f"GET {form} with no credential: {answer.status}")
    return found


def _ambiguous(target: Target) -> Iterator[tuple[str, bytes]]:
    """Yield requests that two servers may frame in two ways, each followed by a request of its own."""
    inner = f"GET /{target.marker} HTTP/1.1\r\nHost: {target.url.authority}\r\n\r\n"
    lines: dict[str, tuple[str, ...]] = {
        "Content-Length and chunked": ("Content-Length: 4", "Transfer-Encoding: chunked"),
        "chunked and Content-Length": ("Transfer-Encoding: chunked", "Content-Length: 4"),
        "two Content-Length": ("Content-Length: 5", "Content-Length: 0"),
        "a list as Content-Length": ("Content-Length: 5, 0",),
        "Content-Length +5": ("Content-Length: +5",),
        "Content-Length 0x5": ("Content-Length: 0x5",),
        "an unknown coding": ("Transfer-Encoding: xchunked",),
        "chunked twice": ("Transfer-Encoding: chunked, chunked",),
        "chunked after a control": ("Transfer-Encoding: \x0bchunked",),
        "a space before the colon": ("Transfer-Encoding : chunked",),
        "a folded line": ("X-A: 1", " Transfer-Encoding: chunked"),
        "a bare line feed": ("X-A: 1\nTransfer-Encoding: chunked",),
        "two Host": ("Host: other.invalid",),
    }
    for label, fields in lines.items():
        head = "\r\n".join(
            [f"POST {target.public} HTTP/1.1", f"Host: {target.url.authority}", AGENT, *fields, "", ""]
        )
        yield label, f"{head}0\r\n\r\n{inner}".encode()
    yield "no Host", f"GET {target.public} HTTP/1.1\r\n{AGENT}\r\n\r\n{inner}".encode()
    yield "another host in the target", target.request("GET", f"http://other.invalid{target.public}")


async def framing(target: Target) -> list[str]:
    """Send what two servers may frame in two ways; right is a refusal of the message, and a closed connection."""
    plain = await target.ask("POST", target.public, body=b"four")
    if plain.status in _REFUSALS:
        raise NotApplicable(
            f"POST {target.public} is {plain.status} when well-formed; name another path with --public"
        )
    found = []
    for label, raw in _ambiguous(target):
        answer = await target.send(raw)
        if answer.status not in _REFUSALS:
            found.append(f"a request for {target.public} with {label}: {answer.status}, where 400 is right")
        elif b"HTTP/1." in answer.body:
            found.append(
                f"a request for {target.public} with {label}: refused, and what came behind it was answered too"
            )
    return found


async def sizes(target: Target) -> list[str]:
    """Send a head of more than a megabyte, and a target of 100 KB."""
    await target.opened()
    found = []
    big = [f"X-Audit-{number}: {'a' * 8000}" for number in range(150)]
    for label, raw in (
        ("a head of 1.2 MB", target.request("GET", target.public, *big)),
        ("a target of 100 KB", target.request("GET", f"{target.public}?{'a' * 100_000}")),
    ):
        answer = await target.send(raw)
        if answer.status not in _TOO_LARGE:
            found.append(f"GET {target.public} with {label}: {answer.status}, where 431 or 414 is right")
    return found


async def upgrades(target: Target) -> list[str]:
    """Ask to speak something else than HTTP or WebSocket, behind which no request would be looked at."""
    found = []
    for protocol in ("h2c", "HTTP/2.0", "audit"):
        lines = (
            f"Upgrade: {protocol}",
            "Connection: Upgrade, HTTP2-Settings",
            "HTTP2-Settings: AAMAAABkAAQAAP__",
        )
        raw = target.request("GET", target.public, *lines).replace(b"Connection: close\r\n", b"")
        answer = await target.send(raw)
        if answer.status == _SWITCHED:
            found.append(f"GET {target.public} with Upgrade: {protocol}: 101")
    return found


async def traces(target: Target) -> list[str]:
    """Ask to have the request sent back, which would show a page what it may not read."""
    answer = await target.ask("TRACE", target.public, f"X-Audit: {target.marker}")
    if answer.succeeded and target.marker.encode() in answer.body:
        return [f"TRACE {target.public}: {answer.status}, with the request's fields in it"]
    return []


CHECKS: Final = (
    Check(
        "path-forms",
        "Other forms of the protected path",
        "No form of a protected path is open: dots, slashes, escapes, parameters, case, full-width letters.",
        "Decide by one canonical path, refuse what has two readings, and write the route as `match: {prefix: …}`.",
        paths,
    ),
    Check(
        "ambiguous-framing",
        "Requests hidden in other requests",
        "What two servers could frame in two ways is refused, and the connection closed (RFC 9112 section 6).",
        "Put a server in front that refuses such messages, and let no older proxy stand before it.",
        framing,
    ),
    Check(
        "head-limits",
        "Heads and targets without end",
        "A head of more than a megabyte and a target of 100 KB are refused.",
        "Set limits, such as GATEWAY_LIMIT_HEAD_BYTES and GATEWAY_LIMIT_TARGET_BYTES.",
        sizes,
    ),
    Check(
        "upgrade-smuggling",
        "Upgrades to protocols that nobody checks",
        "No upgrade but that of a WebSocket passes.",
        "Forward Upgrade for websocket alone.",
        upgrades,
    ),
    Check(
        "trace-reflects",
        "TRACE",
        "Nothing sends back a request with its fields.",
        "Refuse TRACE.",
        traces,
    ),
)
