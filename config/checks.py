"""Checks across settings: the required ones are there, and no two contradict each other.

Each check names the settings it looks at, so that one whose value is already refused is not judged again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.identity_headers import BY_KEY, CLIENT_CERTIFICATE, DASHED, FAMILIES, HOSTED, SESSION, SIGNED
from config.browser_checks import cookies, cors
from config.database_checks import database_urls, migrate_password, pool_sizes
from config.delivery_checks import DELIVERY, delivery
from config.extras import admin_token, collector, limits_can_be_shared, redis_can_be_asked
from config.health_checks import SETTINGS as HEALTH_SETTINGS
from config.health_checks import upstream_health
from config.issuer_checks import issuer, issuer_tokens, unproved_emails
from config.listener_checks import listeners, unix_sockets
from config.loop_checks import default_upstream_loop
from config.share_checks import SHARES, shares
from config.sso_checks import provider_emails, provider_origin
from config.tls_checks import redirect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from config.settings import Settings

SECRET_BYTES: Final = 32
"""RFC 7518 section 3.2: a key of the hash's size or larger must be used with HS256."""

_GENERATE: Final = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"

HINTS: Final = {
    "GATEWAY_DATABASE_URL": "required: the URL of Whatomate's PostgreSQL, postgresql://user:password@host:5432/name",
    "GATEWAY_JWT_SECRET": f"required: the secret shared with Whatomate, at least {SECRET_BYTES} bytes; {_GENERATE}",
    "GATEWAY_UPSTREAM_URL": "required: http://host:port or https://host:port of the service behind the gateway",
}
"""What to say when a required setting is missing."""

NOT_FOR_IDENTITY: Final = frozenset(
    [
        "host",
        "connection",
        "content-length",
        "content-type",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "expect",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
        "authorization",
        "cookie",
        "x-api-key",
        "x-request-id",
    ]
)
"""Headers with a meaning of their own: identity in their place would break the message or the credential."""


DEADLINE_FIELD: Final = "x-envoy-expected-rq-timeout-ms"
"""The field in which an upstream is sent the rest of its deadline."""
WRITTEN: Final = frozenset(
    {
        *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix", "x-real-ip"),
        *("forwarded", "cdn-loop", "traceparent", "tracestate", DEADLINE_FIELD),
    }
)
"""Fields that the gateway writes itself, about the way of a request: of two an upstream believes the first."""


def fold(header: str) -> str:
    """Return a header name as servers that fold punctuation see it."""
    return header.lower().encode("ascii", "replace").translate(DASHED).decode("ascii")


_FOR_OURSELVES: Final = frozenset(fold(name) for name in (*(name for name, _ in HOSTED), *CLIENT_CERTIFICATE))
"""Under these names the gateway's own application is sent what it needs besides."""


def _secret(settings: Settings) -> Iterator[tuple[str, str]]:
    secret = settings.jwt.secret
    size = SECRET_BYTES if secret is None else len(secret.get_secret_value().strip().encode())
    if size < SECRET_BYTES:
        yield "GATEWAY_JWT_SECRET", f"only {size} bytes long, at least {SECRET_BYTES} are needed; {_GENERATE}"
    elif secret is not None and "-----BEGIN " in secret.get_secret_value():
        yield "GATEWAY_JWT_SECRET", "is a PEM key; put it into GATEWAY_JWT_KEYS_DIR, and a secret here"


def _key_directory(settings: Settings) -> Iterator[tuple[str, str]]:
    if not settings.jwt.secret_verifies and settings.jwt.keys_dir is None:
        yield (
            "GATEWAY_JWT_SECRET_VERIFIES",
            "off needs GATEWAY_JWT_KEYS_DIR: else nothing would verify a token",
        )


def _previous_secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    for place, secret in enumerate(settings.jwt.previous_secrets, 1):
        size = len(secret.get_secret_value().strip().encode())
        if size < SECRET_BYTES:
            yield (
                "GATEWAY_JWT_PREVIOUS_SECRETS",
                f"entry {place} is only {size} bytes long, at least {SECRET_BYTES} are needed",
            )


def _lifetimes(settings: Settings) -> Iterator[tuple[str, str]]:
    access, refresh = settings.token.access_seconds, settings.token.refresh_seconds
    if access >= refresh:
        yield (
            "GATEWAY_TOKEN_ACCESS_SECONDS",
            f"{access} should be less than GATEWAY_TOKEN_REFRESH_SECONDS, {refresh}",
        )


def _session_lifetime(settings: Settings) -> Iterator[tuple[str, str]]:
    access, session = settings.token.access_seconds, settings.token.session_seconds
    if access > session:
        yield (
            "GATEWAY_TOKEN_SESSION_SECONDS",
            f"{session} should not be less than GATEWAY_TOKEN_ACCESS_SECONDS, {access}",
        )


def _delays(settings: Settings) -> Iterator[tuple[str, str]]:
    first, longest = settings.signin.delay_seconds, settings.signin.delay_max_seconds
    if first > longest:
        yield (
            "GATEWAY_SIGNIN_DELAY_SECONDS",
            f"{first:g} is more than GATEWAY_SIGNIN_DELAY_MAX_SECONDS, {longest:g}",
        )


def _heads(settings: Settings) -> Iterator[tuple[str, str]]:
    target, head = settings.limit.target_bytes, settings.limit.head_bytes
    if target >= head:
        yield "GATEWAY_LIMIT_TARGET_BYTES", f"{target} should be less than GATEWAY_LIMIT_HEAD_BYTES, {head}"


def _answers(settings: Settings) -> Iterator[tuple[str, str]]:
    least, most = settings.resolver.min_seconds, settings.upstream.resolve_seconds
    if least > most:
        yield (
            "GATEWAY_RESOLVER_MIN_SECONDS",
            f"{least:g} is more than GATEWAY_UPSTREAM_RESOLVE_SECONDS, {most:g}",
        )


def _headers(settings: Settings) -> Iterator[tuple[str, str]]:
    taken = {fold(BY_KEY[SESSION].name): BY_KEY[SESSION].setting}
    for key, header in settings.header.names().items():
        name = BY_KEY[key].setting
        folded = fold(header)
        if folded in NOT_FOR_IDENTITY | WRITTEN or (folded in _FOR_OURSELVES and key != SESSION):
            yield name, f"{header} has a meaning of its own and cannot carry identity"
        first = taken.setdefault(fold(header), name)
        if first != name:
            yield name, f"{header} is the same header as that of {first}"


def _identity(settings: Settings) -> Iterator[tuple[str, str]]:
    for problem in identity_problems(settings.upstream.identity, settings):
        yield "GATEWAY_UPSTREAM_IDENTITY", problem


def identity_problems(words: Iterable[str], settings: Settings) -> Iterator[str]:
    """Yield each header among `words` that no upstream is ever sent, by these settings."""
    if SESSION in words and settings.header.names().get(SESSION) is None:
        yield f"{SESSION} has no name; give it one in {BY_KEY[SESSION].setting}"
    if SIGNED in words and settings.signed.identity == "off":
        yield f"{SIGNED} is the signed identity, and GATEWAY_SIGNED_IDENTITY is off"


def _hash_key(settings: Settings) -> Iterator[tuple[str, str]]:
    for problem in hash_problems(settings.upstream.hash_by, settings):
        yield "GATEWAY_UPSTREAM_HASH_BY", problem


def hash_problems(hash_by: str | None, settings: Settings) -> Iterator[str]:
    """Yield the header that `hash_by` names if it is an identity header: only what a client sends would count."""
    kind, _, name = (hash_by or "").partition(":")
    identity = {fold(header) for header in settings.header.names().values()}
    if kind == "header" and (fold(name) in identity or fold(name).startswith(FAMILIES)):
        yield f"{name} is an identity header, and a client's is removed; use `user` or `organization`"


def _decision(settings: Settings) -> Iterator[tuple[str, str]]:
    path = settings.decision.path
    if path and not settings.trusted_proxies:
        yield (
            "GATEWAY_TRUSTED_PROXIES",
            "required with GATEWAY_DECISION_PATH: decisions are for the proxies in these networks alone",
        )
    if path and "/api/auth/".startswith(path + "/"):
        yield "GATEWAY_DECISION_PATH", f"{path} would hide /api/auth, which the gateway answers"


def _route_sources(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.routes is None and settings.preset == "none":
        return
    for name in ("public_paths", "protected_paths"):
        if name in settings.model_fields_set:
            yield (
                f"GATEWAY_{name.upper()}",
                "has no effect beside GATEWAY_ROUTES or GATEWAY_PRESET; keep one way to name paths",
            )


def _signed(settings: Settings) -> Iterator[tuple[str, str]]:
    signed = settings.signed
    published = signed.published_keys
    if published is not None and signed.identity != "EdDSA":
        yield "GATEWAY_SIGNED_PUBLISHED_KEYS", "has no effect without GATEWAY_SIGNED_IDENTITY=EdDSA"
    elif published is not None and (
        "PRIVATE KEY" in published or "-----BEGIN PUBLIC KEY-----" not in published
    ):
        yield (
            "GATEWAY_SIGNED_PUBLISHED_KEYS",
            "should be Ed25519 public keys in PEM; make one of a private key with: openssl pkey -in FILE -pubout",
        )
    if signed.identity == "off":
        return
    if signed.key is None:
        yield "GATEWAY_SIGNED_KEY", f"required with GATEWAY_SIGNED_IDENTITY={signed.identity}"
        return
    key = signed.key.get_secret_value().strip()
    if signed.identity == "EdDSA":
        if "-----BEGIN PRIVATE KEY-----" not in key:
            yield (
                "GATEWAY_SIGNED_KEY",
                "should be an Ed25519 private key in PEM; make one with: openssl genpkey -algorithm ed25519",
            )
        return
    if "-----BEGIN " in key or len(key.encode()) < SECRET_BYTES:
        yield "GATEWAY_SIGNED_KEY", f"should be a secret of at least {SECRET_BYTES} bytes; {_GENERATE}"
    others = (settings.jwt.secret, *settings.jwt.previous_secrets, settings.keys.secret)
    if key in {other.get_secret_value().strip() for other in others if other is not None}:
        # An upstream that verifies identities could sign tokens.
        yield "GATEWAY_SIGNED_KEY", f"is a secret of another purpose; services get this one: {_GENERATE}"


Check = tuple[tuple[str, ...], "Callable[[Settings], Iterator[tuple[str, str]]]"]

CHECKS: Final[tuple[Check, ...]] = (
    (("GATEWAY_DATABASE_URL", "GATEWAY_DATABASE_LISTEN_URL", "GATEWAY_MIGRATE_DATABASE_URL"), database_urls),
    (("GATEWAY_MIGRATE_DATABASE_PASSWORD", "GATEWAY_MIGRATE_DATABASE_URL"), migrate_password),
    (("GATEWAY_DATABASE_POOL_MIN", "GATEWAY_DATABASE_POOL_MAX"), pool_sizes),
    (("GATEWAY_JWT_SECRET",), _secret),
    (("GATEWAY_JWT_PREVIOUS_SECRETS",), _previous_secrets),
    (("GATEWAY_JWT_SECRET_VERIFIES", "GATEWAY_JWT_KEYS_DIR"), _key_directory),
    (
        ("GATEWAY_ISSUER_URL", "GATEWAY_ISSUER_JWKS_URL", "GATEWAY_ISSUER_AUDIENCE", "GATEWAY_JWT_ISSUER"),
        issuer,
    ),
    (("GATEWAY_ISSUER_UNPROVED_EMAIL", "GATEWAY_REGISTRATION"), unproved_emails),
    (("GATEWAY_PROVIDER_UNPROVED_EMAIL", "GATEWAY_REGISTRATION", "GATEWAY_SSO"), provider_emails),
    (("GATEWAY_PROVIDER_ORIGIN", "GATEWAY_COOKIE_SECURE"), provider_origin),
    (("GATEWAY_ISSUER_TOKEN_BYTES", "GATEWAY_LIMIT_HEAD_BYTES"), issuer_tokens),
    (("GATEWAY_TOKEN_ACCESS_SECONDS", "GATEWAY_TOKEN_REFRESH_SECONDS"), _lifetimes),
    (("GATEWAY_TOKEN_ACCESS_SECONDS", "GATEWAY_TOKEN_SESSION_SECONDS"), _session_lifetime),
    (("GATEWAY_SIGNIN_DELAY_SECONDS", "GATEWAY_SIGNIN_DELAY_MAX_SECONDS"), _delays),
    (("GATEWAY_LIMIT_TARGET_BYTES", "GATEWAY_LIMIT_HEAD_BYTES"), _heads),
    (SHARES, shares),
    (DELIVERY, delivery),
    (("GATEWAY_UPSTREAM_URL", "GATEWAY_LISTEN", "GATEWAY_ADMIN_LISTEN"), default_upstream_loop),
    (("GATEWAY_RESOLVER_MIN_SECONDS", "GATEWAY_UPSTREAM_RESOLVE_SECONDS"), _answers),
    (("GATEWAY_LISTEN", "GATEWAY_ADMIN_LISTEN"), listeners),
    (("GATEWAY_UNIX_TRUSTED", "GATEWAY_PROXY_PROTOCOL_UNIX", "GATEWAY_LISTEN"), unix_sockets),
    (("GATEWAY_DECISION_PATH", "GATEWAY_TRUSTED_PROXIES"), _decision),
    ((), _headers),
    (("GATEWAY_UPSTREAM_IDENTITY",), _identity),
    (("GATEWAY_UPSTREAM_HASH_BY",), _hash_key),
    (("GATEWAY_COOKIES", "GATEWAY_COOKIE_ONLY"), cookies),
    (("GATEWAY_CORS_ORIGINS", "GATEWAY_CORS_CREDENTIALS"), cors),
    ((), _route_sources),
    (("GATEWAY_SIGNED_IDENTITY", "GATEWAY_SIGNED_KEY", "GATEWAY_SIGNED_PUBLISHED_KEYS"), _signed),
    (("GATEWAY_TRACE_ENDPOINT",), collector),
    (("GATEWAY_ADMIN_TOKEN",), admin_token),
    (("GATEWAY_WHATOMATE_REDIS_URL",), redis_can_be_asked),
    (("GATEWAY_LIMITS_URL",), limits_can_be_shared),
    (HEALTH_SETTINGS, upstream_health),
    (("GATEWAY_TLS_REDIRECT_LISTEN", "GATEWAY_LISTEN", "GATEWAY_ADMIN_LISTEN"), redirect),
)


def contradictions(
    settings: Settings, refused: frozenset[str], checks: tuple[Check, ...] = CHECKS
) -> Iterator[tuple[str, str]]:
    """Yield every (setting, problem) that `checks` find, passing over what is `refused` already."""
    for looks_at, check in checks:
        if refused.isdisjoint(looks_at):
            yield from ((name, problem) for name, problem in check(settings) if name not in refused)
