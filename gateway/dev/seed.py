"""Demo data for the dev command: two organizations, four users and an API key.

Laws:

- It is made once: existing rows are used as they are.
- No password is publicly known: each data folder has its own, in a file beside the API key and the JWT secret, readable
  by the owner alone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from authcore.errors import AlreadyMember, UserUnknown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from uuid import UUID

    from authcore.accounts.administration import Administration
    from authcore.passwords.hasher import Passwords
    from authcore.store.postgres import PostgresStore

ADMIN: Final = "admin@demo.example"
AGENT: Final = "agent@demo.example"
MEMBER: Final = "member@demo.example"
SUPER_ADMIN: Final = "super@demo.example"
_KEY_NAME: Final = "demo"


class DevError(Exception):
    """The development gateway cannot be set up; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Demo accounts and their secrets.

    Attributes:
        organization_id: Home of the admin, the agent and the member.
        other_id: Home of the super admin; the member is an agent there.
        password: The password of all four users.
        api_key: An API key that acts as the admin.
    """

    organization_id: UUID
    other_id: UUID
    password: str = field(repr=False)
    api_key: str = field(repr=False)


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """Return the secret in the file `path`; make it if there is none."""
    if path.is_file():
        return path.read_text(encoding="utf-8").strip()
    value = make()
    keep(path, value)
    return value


def keep(path: Path, value: str) -> None:
    """Write a secret that only its owner may read, completely or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(value + "\n")
    partial.replace(path)


def jwt_secret(directory: Path) -> str:
    """Return the secret that signs this data folder's tokens."""
    return read_or_make(directory / "jwt-secret", lambda: secrets.token_urlsafe(48))


async def seed(
    store: PostgresStore, administration: Administration, passwords: Passwords, directory: Path
) -> Demo:
    """Create the missing demo data, and return all of it.

    Raises:
        DevError: the users exist with a password that `directory` does not have.
        StoreUnavailable: the database does not answer.
    """
    password = read_or_make(directory / "demo-password", lambda: f"demo-{secrets.token_hex(6)}")

    async def user(
        email: str, name: str, organization: UUID | str, role: str, *, is_super: bool = False
    ) -> UUID:
        """Find the user, or create them, and their organization as well if only its name is given."""
        try:
            return await administration.find_user(email)
        except UserUnknown:
            if isinstance(organization, str):
                organization = await administration.create_organization(organization)
            return await administration.create_user(
                email=email,
                password=password,
                full_name=name,
                organization_id=organization,
                role=role,
                is_super_admin=is_super,
            )

    admin = await user(ADMIN, "Ada Admin", "Demo", "admin")
    organization = await _home(store, admin)
    await user(AGENT, "Agnes Agent", organization, "agent")
    member = await user(MEMBER, "Max Member", organization, "manager")
    other = await _home(store, await user(SUPER_ADMIN, "Sue Super", "Demo Two", "admin", is_super=True))
    with contextlib.suppress(AlreadyMember):
        await administration.add_member(member, other, "agent")
    await _check_password(store, passwords, password, directory)
    key = await _api_key(administration, admin, organization, directory)
    return Demo(organization, other, password, key)


async def _home(store: PostgresStore, user_id: UUID) -> UUID:
    organization = await store.home(user_id)
    if organization is None:
        raise DevError(
            "a demo user has no organization any more: choose another data folder, or remove the user"
        )
    return organization


async def _check_password(store: PostgresStore, passwords: Passwords, password: str, directory: Path) -> None:
    for row in await store.logins(MEMBER):
        if not await passwords.verify(password, row.password_hash):
            raise DevError(
                f"the database has demo users whose password is not the one in {directory}/demo-password: "
                "use the data folder they were made with, or another database"
            )


async def _api_key(administration: Administration, admin: UUID, organization: UUID, directory: Path) -> str:
    """Return the demo key: the stored one if the database still has it, else a new one."""
    path = directory / "demo-api-key"
    if path.is_file():
        key = path.read_text(encoding="utf-8").strip()
        for row in await administration.list_api_keys(organization):
            if row.is_active and row.name == _KEY_NAME and key.startswith(f"whm_{row.key_prefix}"):
                return key
    _, key = await administration.create_api_key(admin, organization, _KEY_NAME)
    keep(path, key)
    return key
