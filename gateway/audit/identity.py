"""Audit checks of identity: identity headers, overriding headers and tokens that a client makes up."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from authcore.identity_headers import HEADERS
from config.published_secrets import PUBLISHED
from gateway.audit.check import Check, NotApplicable

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.audit.asking import Response
    from gateway.audit.target import Target

UNAUTHENTICATED: Final = 401
_NAMES: Final = tuple(row.name for row in HEADERS if row.sent)
_SPELLINGS: Final[dict[str, Callable[[str], str]]] = {
    "as they are": lambda name: name,
    "in lower case": str.lower,
    "in upper case": str.upper,
    "with underscores": lambda name: name.replace("-", "_"),
    "with dots": lambda name: name.replace("-", "."),
    "with one underscore": lambda name: name.replace("-", "_", 1),
    "with tildes": lambda name: name.replace("-", "~"),
}
_OVERRIDES: Final = (
    *("X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Envoy-Original-Path"),
    *("SCRIPT_NAME", "X-Script-Name"),
)
_SECRETS: Final = (
    "",
    "secret",
    "changeme",
    "change-me",
    "your-256-bit-secret",
    "jwt_secret",
    "whatomate",
    "password",
    *PUBLISHED,
)
_NIL: Final = "00000000-0000-0000-0000-000000000001"


async def identity_alone(target: Target) -> list[str]:
    """Ask for the protected path with identity headers, in several spellings, and no credential."""
    await target.refused()
    found = []
    for label, spell in _SPELLINGS.items():
        lines = [f"{spell(name)}: {_value(name)}" for name in _NAMES]
        answer = await target.ask("GET", target.protected, *lines)
        if await target.gives_away(answer):
            found.append(
                f"GET {target.protected} with identity headers {label}, and no credential: {answer.status}"
            )
    return found


def _value(name: str) -> str:
    return "true" if "Super" in name else "admin" if name.endswith("Role") else _NIL


async def identity_reflected(target: Target) -> list[str]:
    """Ask for the public path with a marker in each identity header, and look for it in the answer."""
    await target.opened()
    found = []
    for label, spell in _SPELLINGS.items():
        answer = await target.ask(
            "GET", target.public, *(f"{spell(name)}: {target.marker}" for name in _NAMES)
        )
        if target.marker.encode() in answer.body:
            found.append(f"GET {target.public} with identity headers {label}: their values are in the answer")
    return found


async def overrides(target: Target) -> list[str]:
    """Name another path or method in a header, and see whether the answer is another one."""
    plain, found = await target.opened(), []
    for name in _OVERRIDES:
        answer = await target.ask("GET", target.public, f"{name}: /{target.marker}")
        if answer.status != plain.status or target.marker.encode() in answer.body:
            found.append(
                f"GET {target.public} with {name}: {answer.status} in place of {plain.status}, or it came back"
            )
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        answer = await target.ask("GET", target.public, f"{name}: AUDIT")
        if answer.status != plain.status:
            found.append(f"GET {target.public} with {name}: {answer.status} in place of {plain.status}")
    return found


async def unsigned(target: Target) -> list[str]:
    """Ask with tokens that nobody signed."""
    headers: list[dict[str, Any]] = [
        {"alg": alg, "typ": "JWT"} for alg in ("none", "None", "NONE", "nOnE", "")
    ]
    tokens = {f"alg {header['alg']!r}": f"{_part(header)}.{_part(_claims())}." for header in headers}
    tokens["no signature"] = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(_claims())}."
    tokens["none with a signature"] = f"{_part({'alg': 'none'})}.{_part(_claims())}.AAAA"
    return await _opens(target, tokens)


async def guessed(target: Target) -> list[str]:
    """Ask with tokens signed by secrets that anybody tries first."""
    opened = await _opens(
        target, {f"the secret {secret!r}": _signed({"alg": "HS256"}, secret) for secret in _SECRETS}
    )
    return opened or await _recognized(target)


async def _recognized(target: Target) -> list[str]:
    """Refresh with such tokens, and compare each refusal with that of a token by a secret that nobody has.

    The tokens are of a user that does not exist, so a server that looks the user up refuses them all. But a refresh
    token that verifies is refused in other words (``User not found``) than one that does not (``Invalid refresh
    token``).
    """
    path = f"{target.login.rpartition('/')[0]}/refresh"

    async def refusal(secret: str) -> Response:
        body = json.dumps({"refresh_token": _signed({"alg": "HS256"}, secret, jti=str(uuid4()))}).encode()
        return await target.ask("POST", path, "Content-Type: application/json", body=body)

    plain, again = await refusal(secrets.token_hex()), await refusal(secrets.token_hex())
    if plain.status != UNAUTHENTICATED or plain.body != again.body:
        return []
    found = []
    for secret in _SECRETS:
        answer = await refusal(secret)
        if answer.succeeded or (answer.status == UNAUTHENTICATED and answer.body != plain.body):
            found.append(
                f"POST {path} with a refresh token of the secret {secret!r}: not refused as one of another secret is"
            )
    return found


async def confused(target: Target) -> list[str]:
    """Ask with tokens that bring or name their own key, or use a public key as a secret."""
    tokens = {
        "kid /dev/null": _signed({"alg": "HS256", "kid": "../../../../../../dev/null"}, ""),
        "kid a statement": _signed({"alg": "HS256", "kid": "x' UNION SELECT 'k'-- "}, "k"),
        "a key of its own": _signed(
            {"alg": "HS256", "jwk": {"kty": "oct", "k": base64.urlsafe_b64encode(b"own").decode()}}, "own"
        ),
        "alg HS512": _signed({"alg": "HS512"}, "", hashlib.sha512),
    }
    for place, key in enumerate(await _published(target)):
        tokens[f"published key {place} as a secret"] = _signed(
            {"alg": "HS256", "kid": key.get("kid", "")}, json.dumps(key)
        )
        for member in ("x", "n"):
            if isinstance(text := key.get(member), str):
                raw = base64.urlsafe_b64decode(text.encode("ascii", "replace") + b"=" * (-len(text) % 4))
                tokens[f"{member} of published key {place}"] = _signed(
                    {"alg": "HS256", "kid": key.get("kid", "")}, raw
                )
    return await _opens(target, tokens)


async def _published(target: Target) -> list[dict[str, Any]]:
    answer = await target.once("/.well-known/jwks.json")
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        return [key for key in json.loads(answer.body)["keys"] if isinstance(key, dict)][:3]
    return []


async def _opens(target: Target, tokens: dict[str, str]) -> list[str]:
    await target.refused()
    found = []
    for label, token in tokens.items():
        answer = await target.ask("GET", target.protected, f"Authorization: Bearer {token}")
        if await target.gives_away(answer):
            found.append(f"GET {target.protected} with a token of {label}: {answer.status}")
    return found


def _claims(jti: str | None = None) -> dict[str, Any]:
    now = int(time.time())
    return {
        "sub": _NIL,
        "user_id": _NIL,
        "organization_id": _NIL,
        "email": "audit@example.invalid",
        "is_super_admin": True,
        "iss": "whatomate",
        "iat": now,
        "exp": now + 600,
        **({} if jti is None else {"jti": jti}),
    }


def _part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def _signed(
    header: dict[str, Any], secret: str | bytes, digest: Any = hashlib.sha256, jti: str | None = None
) -> str:
    content = f"{_part({'typ': 'JWT', **header})}.{_part(_claims(jti))}"
    key = secret.encode() if isinstance(secret, str) else secret
    signature = base64.urlsafe_b64encode(hmac.new(key, content.encode(), digest).digest()).rstrip(b"=")
    return f"{content}.{signature.decode()}"


async def anonymous(target: Target) -> list[str]:
    """Ask for the protected path with no credential, and with ones that are none."""
    plain = await target.once(target.protected)
    if plain.status in {401, 403}:
        lines = (
            "Authorization: Bearer",
            "Authorization: Bearer null",
            "Authorization: Basic Og==",
            "X-API-Key: x",
            "Cookie: a=b",
        )
        answers = {line: await target.ask("GET", target.protected, line) for line in lines}
        return [
            f"GET {target.protected} with {line!r}: {one.status}"
            for line, one in answers.items()
            if one.succeeded
        ]
    if not await target.gives_away(plain):
        raise NotApplicable(
            f"{target.protected} is {plain.status} without a credential; name another with --protected"
        )
    return [f"GET {target.protected} with no credential: {plain.status}"]


CHECKS: Final = (
    Check(
        "anonymous-refused",
        "The protected path without a credential",
        "A caller who proves nothing gets nothing.",
        "Give the path a route with `auth: required`, or add it to GATEWAY_PROTECTED_PATHS.",
        anonymous,
    ),
    Check(
        "identity-alone",
        "Identity headers in place of a credential",
        "No spelling of an identity header lets anybody in.",
        "Let nothing reach the upstream but through the gateway, and let the gateway be first to read these headers.",
        identity_alone,
    ),
    Check(
        "identity-reflected",
        "Identity headers that reach the upstream",
        "A client's own identity headers go no further than the gateway, on public paths too.",
        "Strip every header of these families, whatever stands for the hyphens, before a request is forwarded.",
        identity_reflected,
    ),
    Check(
        "override-headers",
        "Headers that name another path or method",
        "What was authorized is what is served: no header replaces the path or the method.",
        "Strip X-Original-URL, X-Rewrite-URL, SCRIPT_NAME and the X-HTTP-Method family before a request is forwarded.",
        overrides,
    ),
    Check(
        "token-unsigned",
        "Tokens that nobody signed",
        "A token without a signature is no token.",
        "Take an exact list of algorithms, without none, and decide by the key and not by the token's header.",
        unsigned,
    ),
    Check(
        "token-guessed-secret",
        "Tokens signed with a secret that anybody tries first",
        "The shared secret is none of the well-known ones.",
        "Make a secret of 32 random bytes or more, set it in GATEWAY_JWT_SECRET and at every service that shares it.",
        guessed,
    ),
    Check(
        "token-key-confusion",
        "Tokens that bring their own key, or use a public one as a secret",
        "A token is verified by a key of the server's choice, used for its own algorithm alone.",
        "Bind each key to one algorithm, ignore jwk, jku and x5u, and look a kid up in memory.",
        confused,
    ),
)
