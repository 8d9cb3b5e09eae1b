"""Log events of stored hashes that are not tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.passwords.stored_hashes import MAX_COST, Unusable
from gateway.logs.limited import LimitedEvents

if TYPE_CHECKING:
    from collections.abc import Callable

_ADVICE: Final = {
    Unusable.MALFORMED: "Find rows of users or api_keys whose hash no bcrypt wrote; set that password anew.",
    Unusable.TOO_COSTLY: f"Find rows of users or api_keys with a bcrypt cost above {MAX_COST}; set that password anew.",
}


def unusable_hash_events() -> Callable[[Unusable], None]:
    """Return the function that logs a stored hash that cannot be tried; each kind at most once a minute."""
    events = LimitedEvents()

    def report(why: Unusable) -> None:
        events.warning("stored_hash_unusable", key=why, why=str(why), advice=_ADVICE[why])

    return report
