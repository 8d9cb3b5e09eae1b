"""Check of unknown names: it finds the names that are no settings and were meant as one.

Laws:

- A name that begins with ``GATEWAY_`` is a setting, another program's by ``GATEWAY_FOREIGN_NAMES``, or a mistake. A
  misspelt setting would have no effect, which may leave a protection off. This holds for every layer.
- A name in other letters than capitals, or with another prefix, is a mistake if it spells a setting.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from config.layers import FIELDS, PREFIX, SECRETS_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from config.layers import UnknownName
    from config.settings import Settings

FOREIGN: Final = "GATEWAY_FOREIGN_NAMES"
_FILE: Final = "_FILE"
_NAMES: Final = (*FIELDS, *(name + _FILE for name in FIELDS), SECRETS_DIRECTORY)
_KNOWN: Final = frozenset(_NAMES)
_CLOSE: Final = 0.7
"""Least similarity of a name and the setting that was probably meant (:mod:`difflib`)."""
_CLOSE_PREFIX: Final = 0.85
_BY_MEANING: Final = {
    "GATEWAY_PORT": "GATEWAY_LISTEN",
    "GATEWAY_HOST": "GATEWAY_LISTEN",
    "GATEWAY_ADDRESS": "GATEWAY_LISTEN",
    "GATEWAY_UPSTREAM": "GATEWAY_UPSTREAM_URL",
    "GATEWAY_SECRET": "GATEWAY_JWT_SECRET",
    "GATEWAY_DATABASE": "GATEWAY_DATABASE_URL",
    "GATEWAY_REDIS_URL": "GATEWAY_WHATOMATE_REDIS_URL",
}
"""Names that operators of other programs try, and that no likeness of letters leads from."""


def misspelled(unknown: Iterable[UnknownName], settings: Settings) -> Iterator[str]:
    """Yield a problem for each of `unknown` that was meant as a setting, with the likely one."""
    for one in unknown:
        problem = None if _is_foreign(one.name, settings.foreign_names) else _problem(one.name)
        if problem is not None:
            yield (
                f"{one.name}: no such setting ({one.layer}); {problem} "
                f"If another program owns the name, add it to {FOREIGN}"
            )


def foreign_names(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each entry of GATEWAY_FOREIGN_NAMES that covers a setting: its misspellings would pass unseen."""
    for pattern in settings.foreign_names:
        covered = next((name for name in _NAMES if _matches(name, pattern)), None)
        if covered is not None:
            yield FOREIGN, f"{pattern} covers the setting {covered}; name what is not a setting"


def _is_foreign(name: str, patterns: Iterable[str]) -> bool:
    return any(_matches(name, pattern) for pattern in patterns)


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _problem(name: str) -> str | None:
    """Return what to do about a name that is no setting; None if it is none of the gateway's."""
    folded = re.sub(r"[^A-Z0-9]+", "_", name.upper())
    if folded in _KNOWN:
        return f"write it {folded}."
    if name.startswith(PREFIX):
        return _nearest(folded)
    prefix, _, rest = folded.partition("_")
    meant = PREFIX + rest
    if meant in _KNOWN and prefix.isalpha() and _likeness(prefix, PREFIX[:-1]) >= _CLOSE_PREFIX:
        return f"did you mean {meant}?"
    return None


def _nearest(name: str) -> str:
    close = _BY_MEANING.get(name) or next(
        iter(difflib.get_close_matches(name, _NAMES, n=1, cutoff=_CLOSE)), None
    )
    return f"did you mean {close}?" if close else "`whatomate-gateway settings` lists all there are."


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
