"""Account finder: it applies the linking rules to the store, binds an account to its identity, and makes a new one.

Law: of two sign-ins of one new user at the same time one makes the account, and both sign in to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.accounts.sso.linking import choose_account
from authcore.errors import NotAMember, SsoAccountNotMade, SsoNotLinked, UserDisabled
from authcore.store.origins import Origin
from authcore.store.rows import Binding, NewUser

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.accounts.sso.configured import Configured
    from authcore.accounts.sso.identities import ProviderIdentity
    from authcore.store.sso_rows import SsoStore

_DEFAULT_ROLE: Final = "agent"


class AccountFinder:
    """Finder and maker of the accounts of identities."""

    def __init__(self, store: SsoStore, *, takes_unproved: bool) -> None:
        """With `takes_unproved` an account is linked by an e-mail that nobody proved to be its own."""
        self._store = store
        self._takes_unproved = takes_unproved

    async def find(self, configured: Configured, identity: ProviderIdentity) -> UUID:
        """Return the user of an identity, which is bound to it from now on.

        Raises:
            SsoRefused: the rules give the identity no account (by subclass).
            UserDisabled: the account is switched off.
            NotAMember: the provider speaks for one organization, and the user may not act there.
            StoreUnavailable: the database does not answer.
        """
        user_id = await self._chosen(configured, identity)
        if user_id is None:
            user_id = await self._make(configured, identity)
            if user_id is not None:
                return user_id
            user_id = await self._chosen(configured, identity)  # another sign-in may have made it meanwhile
        if user_id is None:
            raise SsoAccountNotMade("a deleted account still has the e-mail")
        return user_id

    async def _chosen(self, configured: Configured, identity: ProviderIdentity) -> UUID | None:
        accounts = await self._store.sso_accounts(identity.kind, identity.account, identity.email)
        account = choose_account(
            configured.row,
            identity,
            accounts,
            is_named=configured.is_named,
            takes_unproved=self._takes_unproved,
        )
        if account is None:
            return None
        if not account.is_active:
            raise UserDisabled
        if configured.stays_in is not None:
            subject = await self._store.subject(account.user_id, configured.stays_in)
            if subject is None or not subject.may_act:  # at home there, and removed from it
                raise NotAMember
        is_noted = account.noted_issuer == identity.issuer
        if not is_noted and not await self._store.bind_account(account.user_id, _binding(identity)):
            raise SsoNotLinked("the account was bound to another user meanwhile")
        return account.user_id

    async def _make(self, configured: Configured, identity: ProviderIdentity) -> UUID | None:
        """Make an account in the row's organization, bound to the identity; None if the e-mail is taken by now.

        What a provider says that no operator has named proves the e-mail to nobody else: its organization writes that.
        """
        row = configured.row
        role = row.default_role_name or _DEFAULT_ROLE
        role_id = await self._store.role_id(row.organization_id, role)
        if role_id is None:
            raise SsoAccountNotMade(
                "the organization has no role of the name default_role_name",
                "Failed to create user account: role not found",
            )
        return await self._store.add_user(
            NewUser(
                email=identity.email or "",
                password_hash="",
                full_name=identity.name,
                organization_id=row.organization_id,
                role_id=role_id,
                origin=Origin.PROVIDER if configured.is_named else Origin.REGISTRATION,
                binding=_binding(identity),
            )
        )


def _binding(identity: ProviderIdentity) -> Binding:
    return Binding(provider=identity.kind, issuer=identity.issuer, account=identity.account)
