"""Linking rules, over every combination of what the rows say."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authcore.accounts.sso.identities import ProviderIdentity, ProviderKind
from authcore.accounts.sso.linking import choose_account
from authcore.errors import SsoDomainRefused, SsoEmailUnverified, SsoNotLinked, SsoRefused, SsoUserUnknown
from authcore.store.sso_rows import AccountRow, ProviderRow
from tests.support.provider_rows import provider_row

HOME, OTHER = uuid4(), uuid4()
ROW: Final = provider_row("custom", organization_id=HOME)
IDENTITY: Final = ProviderIdentity(
    kind=ProviderKind.CUSTOM,
    issuer="https://id.test",
    account="7",
    email="ada@acme.test",
    name="Ada",
    subject="7",
)
FRESH: Final = AccountRow(
    user_id=uuid4(),
    organization_id=HOME,
    is_active=True,
    is_super_admin=False,
    provider="",
    provider_account="",
    is_proved=True,
    noted_issuer="",
    has_email=True,
)
BOUND: Final = replace(FRESH, provider="custom", provider_account="7", noted_issuer="https://id.test")


def chosen(
    *accounts: AccountRow,
    row: ProviderRow = ROW,
    identity: ProviderIdentity = IDENTITY,
    is_named: bool = True,
    takes_unproved: bool = False,
) -> UUID | None:
    found = choose_account(row, identity, accounts, is_named=is_named, takes_unproved=takes_unproved)
    return None if found is None else found.user_id


def test_a_bound_account_is_the_one_whatever_its_e_mail_is() -> None:
    for account in (BOUND, replace(BOUND, has_email=False, is_proved=False)):
        assert chosen(account) == BOUND.user_id
        assert chosen(account, identity=replace(IDENTITY, email=None)) == BOUND.user_id
        assert chosen(account, replace(FRESH, user_id=uuid4())) == BOUND.user_id


def test_an_account_is_linked_by_a_verified_e_mail_that_is_proved_to_be_its_own() -> None:
    assert chosen(FRESH) == FRESH.user_id
    assert chosen(replace(FRESH, provider="custom")) == FRESH.user_id
    with pytest.raises(SsoEmailUnverified):
        chosen(FRESH, identity=replace(IDENTITY, email=None))
    with pytest.raises(SsoNotLinked):
        chosen(replace(FRESH, is_proved=False))
    assert chosen(replace(FRESH, is_proved=False), takes_unproved=True) == FRESH.user_id


def test_what_whatomate_bound_is_taken_with_its_e_mail_alone() -> None:
    google = replace(IDENTITY, kind=ProviderKind.GOOGLE)
    for own, is_named in ((google, True), (IDENTITY, False)):
        by_whatomate = replace(BOUND, provider=own.kind, noted_issuer="", is_proved=False)
        assert chosen(by_whatomate, identity=own, is_named=is_named) == BOUND.user_id
        for identity, account in (
            (replace(own, email=None), by_whatomate),
            (own, replace(by_whatomate, has_email=False)),
        ):
            with pytest.raises(SsoRefused):
                chosen(
                    account, identity=identity, is_named=is_named, row=replace(ROW, allow_auto_create=True)
                )


def test_what_whatomate_bound_by_a_row_is_not_taken_for_an_issuer_that_an_operator_has_named() -> None:
    """The row may have been any organization's, and its provider may have said any id."""
    by_whatomate = replace(BOUND, noted_issuer="", is_proved=False)
    with pytest.raises(SsoNotLinked):
        chosen(by_whatomate)
    assert chosen(replace(by_whatomate, is_proved=True)) == BOUND.user_id
    assert chosen(by_whatomate, takes_unproved=True) == BOUND.user_id


def test_what_is_bound_elsewhere_is_not_linked() -> None:
    for account in (
        replace(FRESH, provider="google", provider_account="7"),
        replace(FRESH, provider="google"),
        replace(FRESH, provider="custom", provider_account="8"),
        replace(BOUND, noted_issuer="https://other.test"),
    ):
        with pytest.raises(SsoNotLinked):
            chosen(account, takes_unproved=True, row=replace(ROW, allow_auto_create=True))


def test_an_account_is_made_only_if_the_row_says_so_and_nobody_has_the_e_mail() -> None:
    making = replace(ROW, allow_auto_create=True)
    assert chosen(row=making) is None
    with pytest.raises(SsoUserUnknown):
        chosen()
    with pytest.raises(SsoEmailUnverified):
        chosen(row=making, identity=replace(IDENTITY, email=None))
    with pytest.raises(SsoNotLinked):
        chosen(FRESH, replace(FRESH, user_id=uuid4()), row=making)


def test_of_several_accounts_with_the_e_mail_the_only_proved_one_is_linked_where_none_is_bound() -> None:
    """Its e-mail in another case, which anybody may register, keeps nobody from their first sign-in."""
    other = replace(FRESH, user_id=uuid4(), organization_id=OTHER, is_proved=False)
    for accounts in ((FRESH, other), (other, FRESH), (other, FRESH, replace(other, user_id=uuid4()))):
        assert chosen(*accounts) == FRESH.user_id
        with pytest.raises(SsoNotLinked):
            chosen(*accounts, takes_unproved=True)
    for beside in (
        replace(other, is_proved=True),
        replace(other, provider="custom", provider_account="7"),
        replace(other, has_email=False, provider="custom", provider_account="7"),
    ):
        with pytest.raises(SsoNotLinked):
            chosen(FRESH, beside)
    with pytest.raises(SsoNotLinked):
        chosen(other, replace(other, user_id=uuid4()), row=replace(ROW, allow_auto_create=True))


def test_domains_hold_for_bound_accounts_too() -> None:
    row = replace(ROW, allowed_domains=("acme.test", "b.test"))
    assert chosen(BOUND, row=row) == BOUND.user_id
    for email, error in (("ada@evil.test", SsoDomainRefused), (None, SsoEmailUnverified)):
        with pytest.raises(error):
            chosen(BOUND, row=row, identity=replace(IDENTITY, email=email))


@given(
    accounts=st.lists(
        st.builds(
            AccountRow,
            user_id=st.uuids(),
            organization_id=st.sampled_from([HOME, OTHER]),
            is_active=st.booleans(),
            is_super_admin=st.booleans(),
            provider=st.sampled_from(["", "custom", "google"]),
            provider_account=st.sampled_from(["", "7", "8"]),
            is_proved=st.booleans(),
            noted_issuer=st.sampled_from(["", "https://id.test", "https://other.test"]),
            has_email=st.booleans(),
        ),
        max_size=3,
    ),
    email=st.sampled_from([None, "ada@acme.test"]),
    is_named=st.booleans(),
    takes_unproved=st.booleans(),
    makes=st.booleans(),
)
def test_no_rows_give_somebody_elses_account(
    accounts: list[AccountRow],
    email: str | None,
    *,
    is_named: bool,
    takes_unproved: bool,
    makes: bool,
) -> None:
    identity, row = replace(IDENTITY, email=email), replace(ROW, allow_auto_create=makes)
    try:
        found = choose_account(row, identity, accounts, is_named=is_named, takes_unproved=takes_unproved)
    except SsoRefused:
        return
    if found is None:
        assert makes
        assert email is not None
        assert accounts == []
        return
    assert found.provider in {"", "custom"}
    assert found.provider_account in {"", "7"}
    noted = (
        found.provider == "custom" and found.provider_account == "7" and found.noted_issuer == IDENTITY.issuer
    )
    assert noted or (email is not None and found.has_email)
    assert found.noted_issuer in {"", IDENTITY.issuer} or not found.noted_issuer
    assert noted or found.is_proved or takes_unproved or (found.provider_account == "7" and not is_named)
    assert is_named or (found.organization_id == HOME and not found.is_super_admin)
