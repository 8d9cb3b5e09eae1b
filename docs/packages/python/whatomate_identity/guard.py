"""Guard of an application: which requests have to prove themselves, and the headers that the application is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from whatomate_identity.identity import Identity
    from whatomate_identity.verifier import Headers, Verifier

EVERYWHERE: Final = "*"


class Guard:
    """Guard that the middleware of every interface has.

    Attributes:
        verifier: The verifier of the application's requests.
    """

    def __init__(self, verifier: Verifier, optional: Collection[str] = ()) -> None:
        """Let the exact paths `optional` pass without a signed identity; ``*`` names all."""
        self.verifier = verifier
        self._optional = frozenset(optional)

    def demands(self, headers: Headers, path: bytes) -> bool:
        """Return whether a request has to be verified: on optional paths, only if it is signed."""
        if self.verifier.is_signed(headers):
            return True
        return self._optional.isdisjoint({EVERYWHERE, path.decode("utf-8", "replace")})

    def given(self, headers: Headers, identity: Identity | None) -> list[tuple[bytes, bytes]]:
        """Return the headers for the application: what is signed, and nothing else of the gateway's families."""
        if identity is None:
            return self.verifier.without_claims(headers)
        return self.verifier.with_claims(headers, identity)
