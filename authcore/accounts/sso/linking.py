"""Linking rules: which account an identity signs in to, decided from rows alone.

Laws, in this order:

- The row's ``allowed_domains`` name the domains of verified e-mails that may come; without any, all may.
- An account that the gateway bound to the identity is the one, whatever the e-mail is by now.
- Otherwise the e-mail decides, and only a verified one. An account that Whatomate bound to the identity is the one if
  it has that e-mail, but not for a custom provider that an operator has named: Whatomate bound it by a row, which may
  have been another organization's.
- An account that is bound to another user, or to another provider, is nobody else's.
- An account with the e-mail is linked only if somebody proved the account's e-mail, too: a person who registers an
  address first must not own the account of the person who comes for it (:mod:`authcore.store.origins`). If
  several accounts have the e-mail and none is bound, the only one with a proved e-mail is linked.
- A custom provider that no operator has named speaks for the accounts of its own organization alone, and for no super
  admin: an administrator of that organization also decides what the provider says.
- An account is made only if the row says so, and only if none has the e-mail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.accounts.sso.identities import ProviderKind
from authcore.errors import SsoDomainRefused, SsoEmailUnverified, SsoNotLinked, SsoUserUnknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from authcore.accounts.sso.identities import ProviderIdentity
    from authcore.store.sso_rows import AccountRow, ProviderRow


def choose_account(
    row: ProviderRow,
    identity: ProviderIdentity,
    accounts: Sequence[AccountRow],
    *,
    is_named: bool,
    takes_unproved: bool,
) -> AccountRow | None:
    """Return the account that an identity signs in to; None if one is to be made.

    Args:
        row: The provider's row.
        identity: The user of the provider.
        accounts: Those that are bound to it, and those with its e-mail.
        is_named: An operator has named the provider: all but custom ones by their URLs.
        takes_unproved: An account is linked by an e-mail that nobody proved to be its own.

    Raises:
        SsoDomainRefused: the e-mail's domain is none of those allowed.
        SsoEmailUnverified: the e-mail has to decide, and is not verified.
        SsoNotLinked: there is an account with the e-mail, which is not linked.
        SsoUserUnknown: there is none, and the row makes none.
    """
    if row.allowed_domains is not None and identity.domain not in row.allowed_domains:
        if identity.email is None:
            raise SsoEmailUnverified("allowed_domains is set, and the provider has verified no e-mail")
        raise SsoDomainRefused("the domain is none of allowed_domains")
    bound = [
        one for one in accounts if one.provider == identity.kind and one.provider_account == identity.account
    ]
    noted = [one for one in bound if one.noted_issuer == identity.issuer]
    if len(noted) == 1:
        return _spoken_for(row, noted[0], is_named=is_named)
    if identity.email is None:
        raise SsoEmailUnverified(
            "the provider has verified no e-mail, and no account is bound to the identity"
        )
    if not accounts and row.allow_auto_create:
        return None
    if not accounts:
        raise SsoUserUnknown("no account has the e-mail, and allow_auto_create is off")
    found = _by_email(
        identity,
        accounts,
        takes_bound=not (is_named and identity.kind is ProviderKind.CUSTOM),
        takes_unproved=takes_unproved,
    )
    return _spoken_for(row, found, is_named=is_named)


def _by_email(
    identity: ProviderIdentity, accounts: Sequence[AccountRow], *, takes_bound: bool, takes_unproved: bool
) -> AccountRow:
    if len(accounts) > 1 and all(one.has_email and not one.provider_account for one in accounts):
        # Another user who registers the e-mail in another case must not keep its owner out.
        accounts = [one for one in accounts if one.is_proved or takes_unproved]
    if len(accounts) != 1:
        raise SsoNotLinked("several accounts have the e-mail, or another account is bound to the identity")
    (one,) = accounts
    if not one.has_email:
        raise SsoNotLinked(
            "the account that Whatomate bound to the identity has another e-mail, or was bound for another issuer"
        )
    if one.noted_issuer and one.noted_issuer != identity.issuer:
        raise SsoNotLinked("the account is bound to the user of another issuer")
    if one.provider and one.provider != identity.kind:
        raise SsoNotLinked(f"the account is bound to the provider {_known(one.provider)}")
    if one.provider_account and one.provider_account != identity.account:
        raise SsoNotLinked("the account is bound to another user of the provider")
    if (one.provider_account and takes_bound) or one.is_proved or takes_unproved:
        return one
    raise SsoNotLinked(
        "nobody proved the account's e-mail: `users vouch --email` says that it is the account's"
    )


def _spoken_for(row: ProviderRow, account: AccountRow, *, is_named: bool) -> AccountRow:
    """Return `account` if the provider may speak for it."""
    if is_named:
        return account
    if account.is_super_admin:
        raise SsoNotLinked("a custom provider signs in no super admin without GATEWAY_PROVIDER_CUSTOM_ISSUER")
    if account.organization_id != row.organization_id:
        raise SsoNotLinked(
            "the account is at home in another organization than the custom provider; "
            "GATEWAY_PROVIDER_CUSTOM_ISSUER lets it speak for all"
        )
    return account


def _known(provider: str) -> str:
    return provider if provider in set(ProviderKind) else "another"
