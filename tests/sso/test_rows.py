"""What a row of ``sso_providers`` decides: the role of a new account, and the client's secret."""

from __future__ import annotations

import os
from base64 import b64encode
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support.openid import SECRET, Traveller, enable, landed, sent_back

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
