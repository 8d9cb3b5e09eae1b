"""JWKS fetcher: it fetches the key set of an issuer over the outbound port, for the JWKS client."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from authcore.crypto.jwks_client import Fetched, FetchFailed
from authcore.outbound import OutboundFailed, OutboundOutcome, OutboundRequest

if TYPE_CHECKING:
    from authcore.outbound import Outbound


class KeySetFetch:
    """JWKS fetcher of one URL; it is called for every fetch."""

    def __init__(self, client: Outbound, url: str, hosts: frozenset[str]) -> None:
        """`hosts` are those of the issuer: `url` is fetched only if its host is one of them."""
        self._client = client
        self._request = OutboundRequest(url=url, hosts=hosts)

    async def __call__(self) -> Fetched:
        """Fetch the key set.

        Raises:
            FetchFailed: it cannot be fetched.
        """
        try:
            response = await self._client.send(self._request)
        except OutboundFailed as error:
            what = "is too large" if error.outcome is OutboundOutcome.SIZE else "cannot be had"
            raise FetchFailed(f"the key set {what}: {error}") from error
        if response.status != HTTPStatus.OK:
            raise FetchFailed(f"the key set's server answered {response.status}")
        return Fetched(response.body, response.max_age_seconds)
