"""Secret reader: it reads a setting's file again while the program runs, for secrets that rotate in a file.

Laws:

- A file that cannot be read at the moment, or is empty, is being replaced; the last value stays in use.
- A pipe is read once, at the start: its writer has ended, and waiting for another one would stop the gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.layers import read_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import Settings


def reread(settings: Settings, name: str, value: str) -> Callable[[], str]:
    """Return the function that returns the present value of the setting `name`, which was `value` at the start."""
    path = settings.files.get(name)
    if path is None:
        return lambda: value
    last = [value]

    def read() -> str:
        try:
            found = read_value(path) if path.is_file() else ""
        except (OSError, UnicodeError):
            found = ""
        last[0] = found or last[0]
        return last[0]

    return read
