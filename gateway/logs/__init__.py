"""Records on standard output: one for each request (``access``), and events for everything else (``events``).

Laws:

- No credential, cookie, query value or body is ever in a record: what is not put in cannot leak, and what looks like a
  credential all the same is masked as it is written (``redaction``).
- The loop never waits for the reader of the log: one thread writes (``writer``); what it cannot keep up with is
  dropped, counted and told.
"""

from gateway.logs.access import AccessLog, Record
from gateway.logs.events import configure
from gateway.logs.redaction import masked, redacted_query

__all__ = ["AccessLog", "Record", "configure", "masked", "redacted_query"]
