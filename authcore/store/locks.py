"""Advisory lock of a user, taken before memberships, API keys or invitations are counted and added.

The gateway's advisory locks have two keys. The first is 1466457701 for e-mails (:mod:`authcore.store.accounts`),
1466457702 for users, 1466457703 for operations (:mod:`authcore.store.operations`).
"""

from __future__ import annotations

from typing import Final

LOCK_USER: Final = "SELECT pg_advisory_xact_lock(1466457702, hashtext($1::text))"
"""It is held until the end of the transaction. The count has to be a later statement, which sees earlier commits."""
