"""Rows of ``sso_providers``: they decide the role of a new account, and the client's secret."""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from authcore.store.rows import Binding
from tests.support.openid import SECRET, Traveller, by_row, enable, landed, sent_back

if TYPE_CHECKING:
    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World

KEY = "whatomate's app.encryption_key, longer than 32 bytes"
NEW = "new@example.com"


async def test_a_new_account_is_the_rows_organizations_with_its_role(
    world: World, start: Start, idp: OpenId
) -> None:
    idp.user = {**idp.user, "email": NEW}
    traveller = Traveller(await start(world.url, **idp.settings()))
    row = {"allow_auto_create": True, "organization_id": world.other}
    await enable(world, "custom", **row, default_role_name="no such role")
    assert sent_back(await traveller.sign_in(idp)) == "Failed to create user account: role not found"
    assert await world.sql("SELECT FROM users WHERE email = $1", NEW) == []
    await enable(world, "custom", **row, default_role_name="manager")
    landed(await traveller.sign_in(idp))
    (made,) = await world.sql(
        "SELECT u.organization_id, r.name, u.password_hash, u.sso_provider, m.is_default FROM users u "
        "JOIN custom_roles r ON r.id = u.role_id JOIN user_organizations m ON m.user_id = u.id WHERE u.email = $1",
        NEW,
    )
    assert tuple(made) == (world.other, "manager", "", "custom", True)
    await enable(world, "custom", organization_id=world.other)
    landed(await traveller.sign_in(idp))  # once there is an account, none has to be made
    idp.user, idp.id_token = {**idp.user, "email": "newer@example.com"}, {"sub": "subject 2"}
    assert sent_back(await traveller.sign_in(idp)) == "User not found. Contact your administrator."


async def test_of_first_sign_ins_of_a_new_user_at_the_same_time_all_begin_a_session(
    world: World, start: Start, idp: OpenId
) -> None:
    await by_row(world, idp, world.home, allow_auto_create=True)
    gates = [await start(world.url, **idp.settings(custom_issuer=None)) for _ in range(2)]
    for number in range(8):
        idp.user = {**idp.user, "sub": f"subject {number}", "email": f"new-{number}@example.com"}
        travellers = [Traveller(gate) for gate in gates for _ in range(3)]
        urls = [idp.authorize(await one.begin()) for one in travellers]
        back = zip(travellers, urls, strict=True)
        for answer in await asyncio.gather(*(one.come_back(url) for one, url in back)):
            landed(answer)


async def test_an_account_is_bound_to_one_user_of_one_provider_however_late_another_comes(
    world: World,
) -> None:
    first = Binding(provider="custom", issuer="https://id.test", account="1")
    for again in (first, first):
        assert await world.store.bind_account(world.agent, again)
    for other in (replace(first, account="2"), replace(first, provider="google")):
        assert not await world.store.bind_account(world.agent, other)
    (row,) = await world.sql("SELECT sso_provider, sso_provider_id FROM users WHERE id = $1", world.agent)
    assert tuple(row) == ("custom", "1")


async def test_an_account_that_cannot_be_bound_is_not_made(world: World, start: Start, idp: OpenId) -> None:
    """Left unbound it would be an account that somebody registered, to which its own user has no way in."""
    await by_row(world, idp, world.home, allow_auto_create=True)
    idp.user = {**idp.user, "sub": "subject 1", "email": NEW}
    traveller = Traveller(await start(world.url, **idp.settings(custom_issuer=None)))
    await world.sql("ALTER TABLE gateway_sso_identities ADD CONSTRAINT nobody CHECK (account = '')")
    assert (await traveller.sign_in(idp)).status == 503
    assert await world.sql("SELECT FROM users WHERE email = $1", NEW) == []
    await world.sql("ALTER TABLE gateway_sso_identities DROP CONSTRAINT nobody")
    landed(await traveller.sign_in(idp))


async def test_a_secret_that_whatomate_encrypted_is_used_with_its_key(
    world: World, start: Start, idp: OpenId
) -> None:
    nonce = os.urandom(12)
    sealed = AESGCM(KEY.encode()[:32]).encrypt(nonce, SECRET.encode(), None)
    await enable(
        world, "custom", client_secret="enc:" + b64encode(nonce + sealed).decode(), allow_auto_create=True
    )
    idp.user = {**idp.user, "email": NEW}
    landed(await Traveller(await start(world.url, **idp.settings(secret_key=KEY))).sign_in(idp))
    for key in (None, "another key"):
        gate = await start(world.url, **idp.settings(secret_key=key))
        words = sent_back(await Traveller(gate).fetch("/api/auth/sso/custom/init"))
        assert words == "SSO provider not configured or disabled"
