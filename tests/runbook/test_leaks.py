"""The runbook's entries on signing keys, and on keys and accounts that leak, on two gateways."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runbook.page import carried_out
from tests.runbook.people import People
from tests.runbook.site import Refused, Site
from tests.support.calls import bearer
from tests.support.issuers import two_keys
from tests.support.programs import program

if TYPE_CHECKING:
    from tests.runbook.site import Sites
    from tests.support.worlds import World

EMAIL = "agent@example.com"


async def with_keys(world: World, site: Sites, folder: Path) -> tuple[Site, str]:
    """Start gateways that sign by a key, each with a directory of its own; return them, and the key's id."""
    program("curl")
    (folder / "made").mkdir()
    kid = two_keys(folder / "made")[0]
    directories = [folder / "keys-0", folder / "keys-1"]
    for directory in directories:
        shutil.copytree(folder / "made", directory)
    (folder / "safe").mkdir()
    one = await site(
        world.url,
        GATEWAY_JWT_KEYS_DIR=[str(directory) for directory in directories],
        GATEWAY_JWT_KEYS_POLL_SECONDS="0.2",
    )
    one.variables |= {"KEYS": str(folder / "safe"), "LEAKED": kid}
    return one, kid


async def test_a_signing_key_rotates_and_no_token_is_refused(
    world: World, site: Sites, tmp_path: Path
) -> None:
    one, former = await with_keys(world, site, tmp_path)
    people = People(one, world)
    one.holds = people.everybody_is_known
    await people.everybody_is_known()
    await one.carry_out(carried_out()["Rotate a signing key"])
    for replica in one.up:
        await people.is_signed_by_another(replica, former)


async def test_a_signing_key_that_signs_before_every_gateway_has_it_is_seen_to_refuse(
    world: World, site: Sites, tmp_path: Path
) -> None:
    one, former = await with_keys(world, site, tmp_path)
    people = People(one, world)

    async def holds() -> None:
        for replica in one.replicas[:1]:
            if signs_anew(Path(replica.own["GATEWAY_JWT_KEYS_DIR"]), former):
                await people.is_signed_by_another(replica, former)
        await people.everybody_is_known()

    one.holds = holds
    make, publish, sign = [step for step in carried_out()["Rotate a signing key"] if step.blocks]
    await people.everybody_is_known()
    with pytest.raises(Refused, match="gateway-1: 401"):
        await one.carry_out([make, sign, publish])


def signs_anew(folder: Path, former: str) -> bool:
    """True if another key than `former` is named to sign, and its file is there."""
    named = (folder / "signing").read_text().strip()
    return named != former and (folder / f"{named}.kid.pem").exists()


async def test_a_leaked_signing_key_proves_nothing_at_either_gateway(
    world: World, site: Sites, tmp_path: Path
) -> None:
    one, former = await with_keys(world, site, tmp_path)
    people = People(one, world)
    await people.everybody_is_known()
    leaked = [bearer(token) for token in people.tokens]
    await one.carry_out(carried_out()["A signing key has leaked"])
    await people.are_refused(leaked)
    people.forget()
    await people.everybody_is_known()
    assert former not in {people.signer(token) for token in people.tokens}


async def test_what_has_leaked_is_refused_at_both_gateways_and_nothing_else(
    world: World, site: Sites
) -> None:
    """An API key first, and then an account, which its owner is given back."""
    one = await site(world.url)
    people = People(one, world)
    create = world.accounts.administration.create_api_key
    row, leaked = await create(world.admin, world.home, "leaked")
    one.variables |= {"ORGANIZATION": str(world.home), "KEY_ID": str(row.id), "EMAIL": EMAIL}
    for replica in one.up:
        assert await people.status(replica, f"X-API-Key: {leaked}") == 200
    one.holds = people.everybody_is_known
    await one.carry_out(carried_out()["An API key has leaked"])
    await people.are_refused([f"X-API-Key: {leaked}"])

    _, key = await create(world.agent, world.home, "of the account")
    people.keys.append(key)
    await people.everybody_is_known()
    stolen = [bearer(token) for token in people.tokens]

    async def others_are_known() -> None:
        for replica in one.up:
            if await people.status(replica, f"X-API-Key: {world.api_key}") != 200:
                raise Refused(f"{replica} refuses another user")

    one.holds = others_are_known
    steps = [step for step in carried_out()["An account has leaked"] if step.blocks]
    await one.carry_out(steps[:1])
    await people.are_refused([*stolen, f"X-API-Key: {key}"])
    for replica in one.up:
        with pytest.raises(Refused, match="401"):
            await people.sign_in(replica)
    one.printed.clear()
    await one.carry_out(steps[1:])
    password = next(text.strip() for text in one.printed if text.strip())
    for replica in one.up:
        pair = await people.sign_in(replica, EMAIL, password)
        assert await people.status(replica, bearer(pair.access)) == 200
        assert await people.status(replica, f"X-API-Key: {key}") == 200
    await people.are_refused(stolen)
