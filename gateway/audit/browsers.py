"""Checks of what browsers rely on: cookies, origins, TLS; and of how signing in answers."""

from __future__ import annotations

import asyncio
import re
import ssl
import warnings
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from gateway.audit.check import Check, NotApplicable, Unreachable

if TYPE_CHECKING:
    from gateway.audit.asking import Url
    from gateway.audit.target import Target

SLOWED: Final = 429
"""Status of a sign-in that comes too soon (RFC 6585)."""
_ANSWERS: Final = frozenset({400, 401, 403, 422, SLOWED})
"""Statuses of a sign-in with a wrong password."""
_FOREIGN_ORIGIN: Final = "https://attacker.invalid"
_TRIES: Final = 4
_MOST_WRONG: Final = 12
_APART_SECONDS: Final = 0.05
"""Two kinds of answers differ in time if the fastest of one is this much, and twice, slower than that of the other."""


async def cookies(target: Target) -> list[str]:
    """Look at every cookie that is set where no session is begun."""
    answers = [await target.once(path) for path in ("/", target.public, target.protected, target.login)]
    found = []
    for line in dict.fromkeys(line for answer in answers for line in answer.all("set-cookie")):
        name, _, rest = line.partition("=")
        flags = {part.partition("=")[0].strip().lower() for part in rest.split(";")[1:]}
        wanted = {"samesite"} | ({"secure"} if target.url.secure else set())
        if "csrf" not in name.lower() and "xsrf" not in name.lower():
            wanted.add("httponly")
        if missing := wanted - flags:
            found.append(f"the cookie {name.strip()} is set without {', '.join(sorted(missing))}")
    return found


async def origins(target: Target) -> list[str]:
    """Ask as pages of other origins would, and see whether they may read the answer."""
    found = []
    for origin in (
        _FOREIGN_ORIGIN,
        "null",
        f"https://{target.url.host}.attacker.invalid",
        f"https://attacker{target.url.host}",
    ):
        preflight = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization")
        for method, path, lines in (
            ("GET", target.public, ()),
            ("GET", target.protected, ()),
            ("OPTIONS", target.protected, preflight),
        ):
            answer = await target.ask(method, path, f"Origin: {origin}", *lines)
            allowed = answer.one("access-control-allow-origin")
            credentials = answer.one("access-control-allow-credentials").lower() == "true"
            if allowed == origin or (allowed == "*" and credentials):
                suffix = " with credentials" if credentials else ""
                found.append(f"{method} {path} from Origin {origin}: its pages may read the answer{suffix}")
    return found


async def transport(target: Target) -> list[str]:
    """Look at certificate, versions and HSTS."""
    url = target.url
    if not url.secure:
        if _is_loopback(url.host):
            raise NotApplicable("the target is asked by http:// on this machine")
        return [f"{url} is plain HTTP: any network on the way can read every credential"]
    found = []
    timeout = target.asker.timeout
    if (problem := await _handshake(url, ssl.create_default_context(), timeout)) is not None:
        found.append(f"the certificate of {url} is refused: {problem}")
    old = _old_versions()
    if await _handshake(url, old, timeout) is None:
        found.append(f"{url} speaks TLS 1.1 or older")
    if not (await target.once(target.public)).all("strict-transport-security"):
        found.append(f"GET {target.public} has no Strict-Transport-Security")
    return found


def _old_versions() -> ssl.SSLContext:
    """Return a context that speaks TLS 1.1 and older alone, as far as this machine's library still does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # they are; that is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


async def _handshake(url: Url, context: ssl.SSLContext, timeout: float) -> str | None:  # noqa: ASYNC109 -- passed on
    """Return why there is no connection under `context`; None if there is one."""
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, TimeoutError) as error:
        return str(error) or type(error).__name__
    writer.close()
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def enumeration(target: Target) -> list[str]:
    """Fail to sign in as somebody and as nobody, in turn, and compare answers and times."""
    if not (target.sign_ins and target.known_email):
        raise NotApplicable(
            "it makes failed sign-ins: allow them with --sign-ins and name an account with --known-email"
        )
    known, unknown = [], []
    for place in range(_TRIES):
        known.append(await target.sign_in(target.known_email))
        unknown.append(await target.sign_in(f"{target.marker}{place}@example.invalid"))
        if SLOWED in {known[-1].status, unknown[-1].status}:
            break
    if not {known[0].status, unknown[0].status} <= _ANSWERS:
        raise NotApplicable(
            f"POST {target.login} is {known[0].status}; name the path of signing in with --login"
        )
    if known[0].status != unknown[0].status or known[0].body != unknown[0].body:
        return [
            f"POST {target.login} says who has an account: {known[0].status} and {unknown[0].status}, or other words"
        ]
    compared = [
        pair for pair in zip(known, unknown, strict=True) if SLOWED not in {pair[0].status, pair[1].status}
    ]
    if len(compared) < 2:  # noqa: PLR2004 -- one time is no measure
        raise NotApplicable("sign-ins were slowed before anything could be compared; try again later")
    slow, fast = sorted(
        (min(one.seconds for one in side) for side in zip(*compared, strict=True)), reverse=True
    )
    if slow - fast > _APART_SECONDS and slow > 2 * fast:
        return [
            f"POST {target.login} takes {slow * 1000:.0f} ms for one kind of e-mail, {fast * 1000:.0f} ms for the other"
        ]
    return []


async def throttling(target: Target) -> list[str]:
    """Fail to sign in as one e-mail, until that is slowed."""
    if not target.sign_ins:
        raise NotApplicable(
            "it makes failed sign-ins, which count for this address: allow them with --sign-ins"
        )
    for _ in range(_MOST_WRONG):
        answer = await target.sign_in(f"{target.marker}@example.invalid")
        if answer.status == SLOWED:
            return []
        if answer.status not in _ANSWERS:
            raise NotApplicable(
                f"POST {target.login} is {answer.status}; name the path of signing in with --login"
            )
    return [f"POST {target.login}: {_MOST_WRONG} wrong passwords for one e-mail, and none was slowed"]


async def upstream(target: Target) -> list[str]:
    """Ask the service behind the gateway directly, as nobody and as somebody."""
    if target.upstream is None:
        raise NotApplicable("name the service behind the gateway with --upstream, and once more with --i-own")
    found = []
    identity = (
        "X-User-ID: 00000000-0000-0000-0000-000000000001",
        "X-User-Role: admin",
        "X-User-Super-Admin: true",
    )
    for label, lines in (("no credential", ()), ("identity headers alone", identity)):
        raw = target.request("GET", target.protected, *lines)
        raw = re.sub(rb"Host: [^\r]*", f"Host: {target.upstream.authority}".encode(), raw, count=1)
        try:
            answer = await target.asker.ask(target.upstream, raw)
        except Unreachable:
            return []
        if answer.succeeded:
            found.append(f"GET {target.upstream}{target.protected} with {label}: {answer.status}")
    return found


CHECKS: Final = (
    Check(
        "cookie-flags",
        "Cookies without their flags",
        "Cookies are HttpOnly (but those of CSRF tokens), SameSite, and Secure where there is TLS.",
        "Set the flags where the cookie is made.",
        cookies,
    ),
    Check(
        "cors-strangers",
        "Pages of other origins",
        "No page of an origin that was not named reads an answer.",
        "Name origins exactly, in GATEWAY_CORS_ORIGINS or at the upstream; never reflect Origin.",
        origins,
    ),
    Check(
        "tls",
        "Transport",
        "The certificate is good for the name, TLS is 1.2 or newer, and HSTS makes browsers stay with it.",
        "Renew the certificate, switch older versions off, and send Strict-Transport-Security where TLS ends.",
        transport,
    ),
    Check(
        "user-enumeration",
        "Which e-mails have an account, by answers or by time",
        "A wrong password is answered alike, and as fast, for an account and for none.",
        "Answer both alike, and compare with the hash of a stand-in where there is no account.",
        enumeration,
    ),
    Check(
        "sign-in-throttled",
        "Passwords guessed one after the other",
        "Wrong passwords for one e-mail are slowed.",
        "Count failed sign-ins by e-mail and by address, for all replicas together.",
        throttling,
    ),
    Check(
        "upstream-direct",
        "The service behind the gateway, reached directly",
        "Nobody reaches the upstream but through the gateway, or it trusts no identity header by itself.",
        "Let the upstream listen on a loopback address or behind a network policy, or verify signed identities.",
        upstream,
    ),
)
