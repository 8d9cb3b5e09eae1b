"""Published secrets: values of the shared secret that Whatomate's example configuration or documentation has shown.

An installation that was made by copying an example still has its secret, and with it anybody can sign a token for any
user. The values are those of 2026.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings

PUBLISHED: Final = (
    "your-super-secret-jwt-key-change-in-production",
    "change-me-in-production",
    "your-jwt-secret-key",
)


def secret_doubts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a warning for each setting whose value is a published secret."""
    secret = settings.jwt.secret
    given = [] if secret is None else [("GATEWAY_JWT_SECRET", secret)]
    given += [("GATEWAY_JWT_PREVIOUS_SECRETS", previous) for previous in settings.jwt.previous_secrets]
    for name, value in given:
        if value.get_secret_value().strip() in PUBLISHED:
            yield (
                name,
                (
                    "stands in Whatomate's public examples, so anybody can sign a token for any user; make a secret of "
                    "32 random bytes, and set it here and as Whatomate's jwt.secret"
                ),
            )
