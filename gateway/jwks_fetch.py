"""JWKS fetcher: the HTTP client that fetches a foreign issuer's key set.

Laws: it is bounded in time and bytes; it follows no redirect, takes no proxy from the environment, stores no cookie,
    and
sends nothing of ours along.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar

from authcore.crypto.jwks_client import Fetched, FetchFailed

MOST_BYTES: Final = 262_144
_OK: Final = 200
_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})\"?(?:$|[,\s])", re.IGNORECASE)


class JwksFetch:
    """JWKS fetcher: it is called for every fetch."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self._url = url
        self._timeout = ClientTimeout(total=timeout_seconds)

    async def __call__(self) -> Fetched:
        """Fetch the key set on a connection of its own, as fetches are rare.

        Raises:
            FetchFailed: it cannot be fetched.
        """
        try:
            async with (
                ClientSession(
                    timeout=self._timeout, cookie_jar=DummyCookieJar(), trust_env=False, auto_decompress=False
                ) as session,
                session.get(
                    self._url,
                    allow_redirects=False,
                    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                ) as answer,
            ):
                if answer.status != _OK:
                    raise FetchFailed(f"the key set's server answered {answer.status}")
                body = b""
                async for piece in answer.content.iter_chunked(65_536):
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise FetchFailed(f"the key set is larger than {MOST_BYTES} bytes")
                max_age = _MAX_AGE.search(answer.headers.get("Cache-Control", ""))
        except (ClientError, OSError, TimeoutError, ValueError) as error:
            raise FetchFailed(f"the key set cannot be had: {type(error).__name__}") from error
        return Fetched(body, float(max_age[1]) if max_age else None)
