"""Errors of quotas: one is used up, or the database does not say what is left of it."""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil

from authcore.errors.reasons import AuthError, Reason
from authcore.quotas import Period, SubjectKind


class QuotaExceeded(AuthError):
    """A quota of the caller's API key or organization is used up.

    Attributes:
        kind: Whose quota it is.
        period: The day or the month.
        most: The quota.
        retry_after_seconds: Seconds until the period ends.
    """

    reason = Reason.QUOTA_EXCEEDED
    message = "The quota is used up"

    def __init__(
        self,
        kind: SubjectKind = SubjectKind.ORGANIZATION,
        period: Period = Period.DAY,
        most: int | None = None,
        ends: float = 0,
        now: float = 0,
    ) -> None:
        """`ends` and `now` are POSIX seconds: when the period ends, and the time of the request.

        Without `most` the message names no figure.
        """
        renewed = datetime.fromtimestamp(ends, UTC).isoformat().replace("+00:00", "Z")
        super().__init__(
            None
            if most is None
            else f"The {kind.words}'s quota of {most} requests a {period.value} is used up; "
            f"it is renewed at {renewed}"
        )
        self.kind = kind
        self.period = period
        self.most = most or 0
        self.retry_after_seconds = max(1, ceil(ends - now))


class QuotaUnknown(AuthError):
    """The database does not say what is left of a quota, and GATEWAY_QUOTA_STORE_AWAY is closed."""

    reason = Reason.QUOTA_UNKNOWN
    message = "Quotas cannot be read at the moment, try again shortly"
