"""Claims of OpenID Connect that tokens of others hold: audiences, and an e-mail that counts.

Law: an e-mail counts only if the issuer says that it verified it (``email_verified``: true, or the text "true" that
some providers send), and only in ASCII: other letters fold onto those of somebody else's address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.tokens.claims import text

if TYPE_CHECKING:
    from collections.abc import Mapping


def audiences(payload: Mapping[str, object]) -> frozenset[str]:
    """Return the values of ``aud``, which is one text or a list; anything else in it is left out."""
    value = payload.get("aud")
    if isinstance(value, str):
        return frozenset({value})
    return frozenset(one for one in value if isinstance(one, str)) if isinstance(value, list) else frozenset()


def verified_email(
    payload: Mapping[str, object], claim: str = "email", *, is_trusted: bool = False
) -> str | None:
    """Return the e-mail of a payload; None if there is none that counts.

    With `is_trusted` it counts without ``email_verified``.

    Raises:
        TokenMalformed: the claim is no text.
    """
    email = text(payload, claim)
    verified = payload.get("email_verified")
    if not email or not email.isascii() or not (is_trusted or verified is True or verified == "true"):
        return None
    return email
