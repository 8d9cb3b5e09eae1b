"""Statements that read a user as a member of an organization, for every authenticated request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from uuid import UUID  # noqa: TC003 -- a named tuple's fields are evaluated

from authcore.identity_headers import SELECTED
from authcore.permissions import ALL, is_permission
from authcore.store.rows import Subject
from authcore.store.session_statements import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from authcore.store.gathering import Gathering
    from authcore.store.pool import DatabasePool

_SELECTED: Final = "".join(f",\n       ({one.select})::text AS header_{one.key}" for one in SELECTED)
"""What the table of identity headers selects."""


def subject_of(user: str, organization: str, session: str, founded: str = "NULL::timestamptz") -> str:
    """Return the statement of a subject; the arguments are the SQL of its ids.

    `founded` is that of when a credential without a session was issued: it is over if all sessions of the user were
    ended since. Tokens are dated by the second, so one of the same second is not.

    The membership is by the law of ``rows.Subject.is_member``. Of several live rows (no constraint forbids them) the
    oldest counts. A role of another organization grants nothing here.
    """
    return f"""
SELECT u.id AS user_id, u.email, coalesce(u.full_name, '') AS full_name,
       coalesce(u.is_active, false) AS is_active, coalesce(u.is_super_admin, false) AS is_super_admin,
       o.id IS NOT NULL AS organization_exists,
       m.id IS NOT NULL OR (u.organization_id = {organization} AND NOT EXISTS (
           SELECT FROM user_organizations gone WHERE gone.user_id = u.id AND gone.organization_id = {organization})
           AND NOT EXISTS (SELECT FROM gateway_former_memberships former
                           WHERE former.user_id = u.id AND former.organization_id = {organization})) AS is_member,
       r.id AS role_id, r.name AS role,
       coalesce(m.role_id, CASE WHEN u.organization_id = {organization} THEN u.role_id END) AS assigned_role_id,
       ARRAY(SELECT p.resource || ':' || p.action FROM role_permissions rp JOIN permissions p ON p.id = rp.permission_id
             WHERE rp.custom_role_id = r.id AND p.deleted_at IS NULL AND NOT coalesce(u.is_super_admin, false)
             UNION ALL
             SELECT p.resource || ':' || p.action FROM permissions p
             WHERE p.deleted_at IS NULL AND coalesce(u.is_super_admin, false)) AS permissions,
       s.created_at AS session_began_at,
       {session} IS NOT NULL AND (s.id IS NULL OR s.revoked_at IS NOT NULL OR NOT {UNCHANGED})
           OR {founded} IS NOT NULL AND EXISTS (
               SELECT FROM gateway_sign_outs o
               WHERE o.user_id = u.id AND date_trunc('second', o.at) > {founded})
           AS is_session_over, n.bound_to AS session_bound_to,
       n.provider_id AS session_provider_id{_SELECTED}
FROM users u
LEFT JOIN organizations o ON o.id = {organization} AND o.deleted_at IS NULL
LEFT JOIN LATERAL (
    SELECT id, role_id FROM user_organizations
    WHERE user_id = u.id AND organization_id = {organization} AND deleted_at IS NULL
    ORDER BY created_at, id LIMIT 1) m ON true
LEFT JOIN custom_roles r ON r.id = coalesce(m.role_id, CASE WHEN u.organization_id = {organization} THEN u.role_id END)
    AND r.organization_id = {organization} AND r.deleted_at IS NULL
LEFT JOIN gateway_sessions s ON s.id = {session} AND s.user_id = u.id
LEFT JOIN gateway_sso_sessions n ON n.session_id = s.id
WHERE u.id = {user} AND u.deleted_at IS NULL
"""  # noqa: S608 - of SQL of ours


def may_act(subject: str, organization: str) -> str:
    """Return SQL for ``rows.Subject.may_act``, of a row of :func:`subject_of` and its organization; null of no row."""
    return (
        f"({subject}.organization_exists AND ({subject}.is_member OR {subject}.is_super_admin) "
        f"AND coalesce({subject}.session_bound_to = {organization}, true))"
    )


# OFFSET 0 keeps each question's plan that of a single one, by indexes, however many there are. An array within a
# subselect has no length that the planner sees: the statement is planned once, and not anew for each.
_SUBJECTS: Final = f"""
SELECT asked.place, found.*
FROM unnest((SELECT $1::uuid[]), (SELECT $2::uuid[]), (SELECT $3::uuid[]), (SELECT $4::timestamptz[]))
    WITH ORDINALITY AS asked (user_id, organization_id, session_id, founded_at, place)
CROSS JOIN LATERAL (
    {subject_of("asked.user_id", "asked.organization_id", "asked.session_id", "asked.founded_at")} OFFSET 0) found
"""  # noqa: S608 - of the statement above

_HOME: Final = """
SELECT c.organization_id FROM (
    SELECT u.organization_id, 0 AS rank, u.created_at FROM users u
    WHERE u.id = $1 AND u.deleted_at IS NULL AND (coalesce(u.is_super_admin, false) OR NOT EXISTS (
        SELECT FROM user_organizations gone WHERE gone.user_id = u.id AND gone.organization_id = u.organization_id
        UNION ALL SELECT FROM gateway_former_memberships former
        WHERE former.user_id = u.id AND former.organization_id = u.organization_id)
        OR EXISTS (SELECT FROM user_organizations m WHERE m.user_id = u.id
            AND m.organization_id = u.organization_id AND m.deleted_at IS NULL))
    UNION ALL
    SELECT m.organization_id, CASE WHEN m.is_default THEN 1 ELSE 2 END, m.created_at
    FROM user_organizations m JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL
    WHERE m.user_id = $1 AND m.deleted_at IS NULL) c
JOIN organizations o ON o.id = c.organization_id AND o.deleted_at IS NULL
ORDER BY c.rank, c.created_at, c.organization_id LIMIT 1
"""


class Reader(Protocol):
    """Reader protocol: a pool, or the connection of a transaction."""

    async def fetch(self, statement: str, /, *arguments: object) -> Any:
        """Return all rows."""


class SubjectQuestion(NamedTuple):
    """Question for one subject.

    Attributes:
        session_id: The session that the credential is of.
        founded_at: When a credential without a session was issued; None if no sign-out ends it.
    """

    user_id: UUID
    organization_id: UUID
    session_id: UUID | None = None
    founded_at: datetime | None = None


async def read_subjects(reader: Reader, questions: Sequence[SubjectQuestion]) -> Sequence[Subject | None]:
    """Return the users as members of the organizations, with the state of the sessions; None for those unknown."""
    found: list[Subject | None] = [None] * len(questions)
    for row in await reader.fetch(_SUBJECTS, *map(list, zip(*questions, strict=True))):
        place = row["place"] - 1
        found[place] = subject(row, questions[place].organization_id)
    return found


async def read_subject(reader: Reader, user_id: UUID, organization_id: UUID) -> Subject | None:
    """Return the user as a member of the organization; None if unknown."""
    (found,) = await read_subjects(reader, [SubjectQuestion(user_id, organization_id)])
    return found


def subject(row: Any, organization_id: UUID) -> Subject:
    """Return the subject in a row of :func:`subject_of`, as seen in the organization."""
    # A row that is no permission by our grammar grants nothing: it might break out of a header.
    granted = {one for one in row["permissions"] if is_permission(one)}
    return Subject(
        user_id=row["user_id"],
        organization_id=organization_id,
        email=row["email"],
        full_name=row["full_name"],
        is_active=row["is_active"],
        is_super_admin=row["is_super_admin"],
        is_member=row["is_member"],
        organization_exists=row["organization_exists"],
        role_id=row["role_id"],
        role=row["role"],
        assigned_role_id=row["assigned_role_id"],
        permissions=tuple(sorted(granted | ALL if row["is_super_admin"] else granted)),
        session_began_at=row["session_began_at"],
        is_session_over=row["is_session_over"],
        session_bound_to=row["session_bound_to"],
        session_provider_id=row["session_provider_id"],
        attributes=tuple((one.key, text) for one in SELECTED if (text := row[f"header_{one.key}"])),
    )


class Subjects:
    """Reads users as members of organizations; those asked for at the same moment in one statement."""

    _pool: DatabasePool
    _asked: Gathering[SubjectQuestion, Subject | None]

    async def subject(
        self,
        user_id: UUID,
        organization_id: UUID,
        session_id: UUID | None = None,
        founded_at: datetime | None = None,
    ) -> Subject | None:
        """Return the user as a member of the organization, with the state of a session; None if unknown.

        Without a session, `founded_at` is when the credential was issued; see :class:`SubjectQuestion`.
        """
        return await self._asked.ask(SubjectQuestion(user_id, organization_id, session_id, founded_at))

    async def home(self, user_id: UUID) -> UUID | None:
        """Return the organization a user lands in: the home, else the default membership, else the first."""
        home: UUID | None = await self._pool.fetchval(_HOME, user_id)
        return home
