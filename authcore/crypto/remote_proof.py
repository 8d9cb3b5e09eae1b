"""Signature check of a token by the key set of its issuer, which is on a server of others (RFC 7515, RFC 7517).

Law: a token without a ``kid`` that none of the known keys has signed has the set fetched once more.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from authcore.crypto import jws
from authcore.errors import TokenRejected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authcore.crypto.jwks_client import JwksClient
    from authcore.crypto.keyring import Key


async def prove_remotely(
    token: str | bytes, keys: JwksClient, now: float, most: int = jws.MAX_TOKEN_BYTES
) -> tuple[dict[str, object], Key]:
    """Return the payload of a token, and the key of the issuer that has signed it; `most` bounds the token's bytes.

    `now` is a reading of the steady clock by which `keys` are followed.

    Raises:
        TokenRejected: it is no JWS, demands an extension, or no key of the issuer has signed it.
        IssuerUnavailable: the key set cannot be fetched, so that the token cannot be judged.
    """
    token = jws.bounded(token, most)
    header = jws.read_header(token)
    if jws.is_demanding(header):
        raise TokenRejected
    algorithm, kid = jws.algorithm_of(header), header.get("kid")
    found = await keys.candidates(algorithm, kid, now)
    if kid is None and found:
        # No name tells that a new key signed it: that shows by the signature alone.
        with suppress(TokenRejected):
            return _proved(token, header, found)
        found = await keys.renewed(algorithm, now)
    return _proved(token, header, found)


def _proved(token: bytes, header: Mapping[str, object], keys: Iterable[Key]) -> tuple[dict[str, object], Key]:
    key = jws.signer(token, header, keys)
    return jws.unproved(token), key
