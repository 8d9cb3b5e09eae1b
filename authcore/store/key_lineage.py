"""Lineage of API keys: which key made which, as fragments of SQL that keys are judged and ended by.

Laws:

- A key that was made with a key is good for as long as every key before it is: there, switched on, and within its time.
  This is read with the key itself, so it holds regardless of the program and statement that ended one of them.
- What the gateway ends it ends with all that came of it, in one statement and at any depth: a Whatomate server that
  reads the table sees the same.
- Links that form a circle, which only plain SQL can make, end the reading like any others.
"""

from __future__ import annotations

from typing import Final

BEFORE: Final = """LEFT JOIN LATERAL (
    WITH RECURSIVE line AS (
        SELECT parent_id AS id FROM gateway_api_key_parents WHERE key_id = {key}
        UNION SELECT p.parent_id FROM line CROSS JOIN LATERAL (
            SELECT parent_id FROM gateway_api_key_parents WHERE key_id = line.id OFFSET 0) p)
    SELECT coalesce(bool_and(coalesce(one.is_active, false)), true) AS is_active, min(one.expires_at) AS expires_at,
           coalesce(array_agg(line.id), '{{}}') AS ids
    FROM line LEFT JOIN LATERAL (
        SELECT is_active, expires_at FROM api_keys WHERE id = line.id AND deleted_at IS NULL OFFSET 0) one
        ON true) before ON true"""
"""The keys before ``key``, as one row: whether all are on, the first of their ends, and which they are.

LATERAL with OFFSET 0 has each row found by its index: of a recursion the planner expects many rows, and reads whole
tables.
"""

AFTER: Final = """RECURSIVE line AS (
    SELECT key_id AS id FROM gateway_api_key_parents WHERE parent_id = {key}
    UNION SELECT p.key_id FROM line JOIN gateway_api_key_parents p ON p.parent_id = line.id),
revoked_among AS (
    UPDATE api_keys SET is_active = false, updated_at = now()
    WHERE id IN (SELECT id FROM line) AND id <> {key} AND is_active AND deleted_at IS NULL {when})"""
"""The keys that ``key`` made, and those that they made, which are switched off."""
