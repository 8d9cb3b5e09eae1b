"""Checks of the database settings against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.database_url import problem_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings


def database_urls(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each URL of a database that cannot be used, without repeating it: it may hold a password."""
    for name, secret in (
        ("GATEWAY_DATABASE_URL", settings.database.url),
        ("GATEWAY_DATABASE_LISTEN_URL", settings.database.listen_url),
        ("GATEWAY_MIGRATE_DATABASE_URL", settings.migrate.database_url),
    ):
        problem = None if secret is None else problem_of(secret.get_secret_value())
        if problem is not None:
            yield name, problem


def migrate_password(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a password of the owner whose URL is not set."""
    if settings.migrate.database_password is not None and settings.migrate.database_url is None:
        yield (
            "GATEWAY_MIGRATE_DATABASE_PASSWORD",
            "is for GATEWAY_MIGRATE_DATABASE_URL, which is not set; set both, or GATEWAY_DATABASE_PASSWORD alone",
        )


def pool_sizes(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a pool whose least size is above its greatest."""
    low, high = settings.database.pool_min, settings.database.pool_max
    if low > high:
        yield "GATEWAY_DATABASE_POOL_MIN", f"{low} is more than GATEWAY_DATABASE_POOL_MAX, {high}"
