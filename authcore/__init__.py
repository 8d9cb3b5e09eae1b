"""Authentication and authorization domain of the gateway: it proves who a caller is and decides what they may do.

Laws of this package:

- No HTTP, no environment, no clock of its own: callers hand in headers' contents as typed credentials, settings as
  plain arguments, and the current time as ``now`` (a POSIX timestamp in seconds).
- Secrets never appear in a ``repr``, an exception or a log record.
- An outage is never a denial: when the store cannot answer, :class:`authcore.errors.StoreUnavailable` is raised.
"""
