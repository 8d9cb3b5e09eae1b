"""Advisory lock of a user, for what is counted before it is added: memberships, API keys, invitations.

The two-key space of advisory locks is the gateway's by its first keys: 1466457701 is of e-mails
(:mod:`authcore.store.accounts`), 1466457703 of operations (:mod:`authcore.store.operations`).
"""

from __future__ import annotations

from typing import Final

LOCK_USER: Final = "SELECT pg_advisory_xact_lock(1466457702, hashtext($1::text))"
"""Held until the end of the transaction; what is counted is counted by a later statement."""
