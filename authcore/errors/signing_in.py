"""Refusals of signing in and up that say nothing about who the caller is: too often, not open to all."""

from __future__ import annotations

from authcore.errors.reasons import AuthError, Reason


class Throttled(AuthError):
    """Too many failed attempts: nothing has been tried.

    Attributes:
        retry_after_seconds: When to come again.
    """

    reason = Reason.THROTTLED
    message = "Too many failed attempts, wait before trying again"

    def __init__(self, retry_after_seconds: int | None = None) -> None:
        self.retry_after_seconds = retry_after_seconds or 1
        super().__init__(
            None
            if retry_after_seconds is None
            else f"Too many failed attempts, try again in {_spelled(retry_after_seconds)}"
        )


def _spelled(seconds: int) -> str:
    if seconds == 1:
        return "1 second"
    minutes = -(-seconds // 60)
    return f"{seconds} seconds" if minutes <= 1 else f"{minutes} minutes"
