"""Security fields of the answers that the gateway makes itself, which tell browsers what they may do with one.

Whatomate sets the same on each of its answers, so a page notices no difference. An upstream's answer keeps the
upstream's own fields. Pages of the gateway, such as that of its API, set stricter ones.
"""

from __future__ import annotations

from typing import Final

SECURITY_FIELDS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Permissions-Policy", "camera=(), microphone=(self), geolocation=()"),
)
"""Names and values: the media type is not guessed (Fetch, "nosniff"), no other page may frame it (RFC 7034), other
origins learn the origin alone (Referrer Policy), and no page may use the camera or the position."""
