"""Published secrets: values of a shared secret that stand in public texts, so that everybody has them.

Whoever has the secret can sign a token for any user. Each value is one that Whatomate's own example configuration or
documentation has shown in 2026. An installation that was made by copying them has it still.
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
    """Yield a warning for a secret that everybody has."""
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
