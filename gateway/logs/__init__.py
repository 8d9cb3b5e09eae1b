"""Logging on standard output: one access record for each request (``access``), and events of all else (``events``).

Laws:

- No credential, cookie, query value or body is ever in a record: the code does not put them in. Text that looks like a
  credential all the same is masked when it is written (``redaction``).
- The loop never waits for the reader of the log: a thread writes (``writer``), in turns with other processes that write
  to the same log (``turns``). Records that do not fit into its queue are dropped and counted, and a line reports it.
"""

from gateway.logs.access import AccessLog, Record
from gateway.logs.events import configure
from gateway.logs.redaction import masked, quoted, redacted_query
from gateway.logs.turns import make_file as make_turns

__all__ = ["AccessLog", "Record", "configure", "make_turns", "masked", "quoted", "redacted_query"]
