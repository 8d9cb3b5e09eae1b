"""Settings of the auth domain: its database, tokens, passwords, identities and API keys."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from config.fields import Directory, Group, Seconds, Secrets


class Database(Group):
    """PostgreSQL: the one Whatomate uses."""

    url: SecretStr | None = Field(
        None,
        description="postgresql:// URL of Whatomate's database. Required. As GATEWAY_DATABASE_URL_FILE it is "
        "read again for each connection, so that it may change.",
    )
    password: SecretStr | None = Field(
        None,
        description="Password of the database's user; wins over one in the URLs. As GATEWAY_DATABASE_PASSWORD_FILE "
        "it is read again for each connection.",
    )
    listen_url: SecretStr | None = Field(
        None,
        description="URL at which changes are listened for, where GATEWAY_DATABASE_URL leads to a pooler in "
        "transaction mode: PostgreSQL itself, or a pooler in session mode.",
    )
    statement_cache: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Connections keep their statements prepared; auto: unless a pooler is found in between. on: with a "
        "pooler that keeps them itself.",
    )
    renew_seconds: Seconds = Field(
        10,
        description="One connection is opened in the place of the oldest this often: so the gateway follows an address "
        "that moves, and no connection gets older than this times their number.",
    )
    pool_min: int = Field(1, ge=0, le=1000, description="Connections kept open.")
    pool_max: int = Field(10, ge=1, le=1000, description="Connections at most, per process.")
    connect_timeout_seconds: Seconds = Field(5, description="To open a connection, for each host of the URL.")
    acquire_timeout_seconds: Seconds = Field(
        3,
        description="To wait for a free connection before answering 503; where none is open, the URL's hosts behind "
        "the first have their time besides.",
    )
    statement_timeout_seconds: Seconds = Field(5, description="For one statement to answer.")
    skew_seconds: Seconds = Field(
        3, description="A clock of this machine that differs from the database's by more is warned of."
    )
    triggers: bool = Field(
        default=True,
        description="migrate installs triggers that tell of changed rows, so that what is revoked is refused at "
        "once; off: after GATEWAY_IDENTITY_CACHE_SECONDS.",
    )


class Migrate(Group):
    """PostgreSQL as migrate reaches it: as the owner of Whatomate's tables, while serving takes a lesser role."""

    database_url: SecretStr | None = Field(
        None,
        description="postgresql:// URL that `migrate` and `serve --migrate` use, where another role than that of "
        "GATEWAY_DATABASE_URL owns Whatomate's tables.",
    )
    database_password: SecretStr | None = Field(
        None, description="Password for GATEWAY_MIGRATE_DATABASE_URL; wins over one in it."
    )


class Jwt(Group):
    """Signing and verification of tokens."""

    secret: SecretStr | None = Field(
        None, description="Shared HS256 secret, at least 32 bytes; signs and verifies. Required."
    )
    previous_secrets: Secrets = Field(
        (), description="Secrets that verify only, during a rotation; comma-separated."
    )
    issuer: str = Field("whatomate", min_length=1, description="The iss claim, issued and required.")
    leeway_seconds: float = Field(
        0, ge=0, le=300, allow_inf_nan=False, description="Clock skew forgiven on exp and nbf."
    )
    keys_dir: Directory | None = Field(
        None,
        description="Directory of PEM keys (RSA, P-256, Ed25519) that verify tokens; the one whose kid stands in its "
        "file `signing` signs them in the place of the secret.",
    )
    keys_poll_seconds: Seconds = Field(2, description="The key directory is looked at this often.")
    secret_verifies: bool = Field(
        default=True, description="Off: with keys of its own the gateway takes no HS256 token any more."
    )


class Token(Group):
    """Lifetimes of issued tokens."""

    access_seconds: int = Field(3600, ge=1, le=86_400 * 30, description="Lifetime of an access token.")
    refresh_seconds: int = Field(
        7 * 86_400, ge=1, le=86_400 * 366, description="Lifetime of a refresh token."
    )
    grace_seconds: int = Field(
        10,
        ge=0,
        le=300,
        description="A client that refreshes twice within this, racing itself, is given the same pair again; a later "
        "second use is what GATEWAY_TOKEN_REUSE says. 0: none.",
    )
    reuse: Literal["strict", "retry", "keep"] = Field(
        "retry",
        description="What a second use after the grace is, while nobody has used the token that followed and the user "
        "agent is the same. strict: theft, the session ends. retry: the same pair again, until the access token in it "
        "has expired and 60 s more; then theft. keep: the same refresh token again with a new access token, as long as "
        "the session lasts, for clients that never take the new one.",
    )
    session_seconds: int = Field(
        30 * 86_400,
        ge=60,
        le=86_400 * 3660,
        description="A session ends this long after it began, however often it was refreshed.",
    )

    sessions: int = Field(
        100,
        ge=1,
        le=10_000,
        description="Sessions of one user at most: one more ends the one that was used longest ago.",
    )


class Password(Group):
    """Passwords, and the bounded pool that runs bcrypt."""

    min_length: int = Field(8, ge=1, le=72, description="Fewest characters of a new password.")
    cost: int = Field(10, ge=4, le=15, description="bcrypt cost of new hashes; Whatomate uses 10.")
    hosted: bool = Field(
        default=True,
        description="The gateway answers PUT /api/me/password itself, where Whatomate's page changes a password: the "
        "session that asks goes on. Off: the upstream does, and every session of the user ends.",
    )
    workers: int = Field(2, ge=1, le=64, description="Threads that run bcrypt.")
    queue: int = Field(256, ge=1, le=10_000, description="bcrypt jobs waiting at most; past that 503.")
    network_workers: int = Field(
        0,
        ge=0,
        le=64,
        description="Of the threads, those that one client network (IPv4 address, IPv6 /64) may have at once; 0: "
        "half, rounded up.",
    )
    network_queue: int = Field(
        32,
        ge=1,
        le=10_000,
        description="bcrypt jobs of one client network, running or waiting; past that 429.",
    )


class Identity(Group):
    """The cache of who is who."""

    cache_seconds: Seconds = Field(30, description="A verdict is reused this long before it is read again.")
    cache_entries: int = Field(100_000, ge=1, le=10_000_000, description="Cached identities at most.")
    cache_bytes: int = Field(
        268_435_456,
        ge=65_536,
        description="Memory of cached identities and their headers at most, about; 256 MiB.",
    )
    refused_seconds: Seconds = Field(5, description="A refusal is reused this long before it is read again.")
    refused_entries: int = Field(
        10_000,
        ge=1,
        le=10_000_000,
        description="Cached refusals at most; as many values of X-Organization-ID that were ignored.",
    )
    stale_seconds: float = Field(
        300,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="While the database is away known identities go on for this long; 0: not at all.",
    )


class Keys(Group):
    """API keys."""

    hosted: bool = Field(
        default=True, description="The gateway answers /api/api-keys itself; off: the upstream does."
    )
    mint_keys: bool = Field(
        default=False,
        description="API keys may create API keys, which end with the key that made them; off: only who has signed in "
        "creates keys.",
    )
    per_user: int = Field(
        100,
        ge=1,
        le=10_000,
        description="API keys of one user in one organization at most, and as many made within a day; one more is "
        "refused. Commands are not bound by it.",
    )
    secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="Secret of the digests that spare API keys their bcrypt, the same for every gateway of a "
        "database; without one it is derived from GATEWAY_JWT_SECRET.",
    )
    used_interval_seconds: Seconds = Field(
        10, description="last_used_at is written in batches this far apart."
    )
