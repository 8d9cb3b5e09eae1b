"""A foreign key set: how often it is fetched, what of it counts, and what holds while it cannot be had."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from authcore.crypto.jwks_client import MOST_KEYS, Fetched, FetchFailed, JwksClient
from authcore.crypto.pem import generate_pem, parse_pem
from authcore.crypto.remote_proof import prove_remotely
from authcore.errors import IssuerUnavailable, TokenRejected
from tests.support.domain import NOW
from tests.support.issuers import by_ed25519, loaded

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCEPTED = ("RS256", "ES256", "EdDSA")


class Server:
    """Server of a key set, which answers with a set or with nothing."""

    def __init__(self, *keys: Mapping[str, Any], max_age: float | None = None) -> None:
        self.keys: list[Any] = list(keys)
        self.max_age = max_age
        self.asked = 0
        self.away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.held = 0
        self.body: bytes | None = None

    async def __call__(self) -> Fetched:
        self.asked += 1
        self.held += 1
        await asyncio.sleep(0)
        await self.may_answer.wait()
        self.held -= 1
        if self.away:
            raise FetchFailed("it is away")
        made = json.dumps({"keys": self.keys}).encode()
        return Fetched(made if self.body is None else self.body, self.max_age)

    def source(self) -> JwksClient:
        return JwksClient(self, algorithms=ACCEPTED, cache_seconds=300, cooldown_seconds=30)


def shown(algorithm: str = "EdDSA", **changes: Any) -> dict[str, Any]:
    members = {**(parse_pem(generate_pem(algorithm)).public or {}), **changes}
    return {name: value for name, value in members.items() if value is not None}


async def test_a_key_set_is_fetched_when_first_asked_for_and_then_kept() -> None:
    server = Server(shown(kid="a"))
    source = server.source()
    for _ in range(3):
        assert len(await source.candidates("EdDSA", "a", NOW)) == 1
    assert server.asked == 1


async def test_any_number_at_once_make_one_fetch() -> None:
    server = Server(shown(kid="a"))
    source = server.source()
    found = await asyncio.gather(*(source.candidates("EdDSA", "a", NOW) for _ in range(50)))
    assert (server.asked, {len(one) for one in found}) == (1, {1})


async def test_a_caller_that_gives_up_on_a_key_set_does_no_harm_to_the_others() -> None:
    server = Server(shown(kid="a"))
    source = server.source()
    first = asyncio.create_task(source.candidates("EdDSA", "a", NOW))
    second = asyncio.create_task(source.candidates("EdDSA", "a", NOW))
    await asyncio.sleep(0)
    first.cancel()
    assert len(await second) == 1


async def test_a_fetch_that_is_under_way_is_waited_for() -> None:
    server = Server(shown(kid="a"))
    source = server.source()
    first = asyncio.create_task(source.follow(NOW))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert server.asked == 1
    assert len(await source.candidates("EdDSA", "a", NOW)) == 1
    await first


async def test_an_unknown_kid_has_it_fetched_once_in_a_cooldown() -> None:
    server = Server(shown(kid="a"))
    source = server.source()
    await source.refresh(NOW)
    for second in range(30):
        for kid in ("b", "c", "", 7, ["x"]):
            assert await source.candidates("EdDSA", kid, NOW + second) == []
    assert server.asked == 1
    server.keys.append(shown(kid="b"))
    assert len(await source.candidates("EdDSA", "b", NOW + 30)) == 1
    assert server.asked == 2


@pytest.mark.parametrize("stated", ["EdDSA", "Ed25519", None])
@pytest.mark.parametrize("accepted", ["EdDSA", "Ed25519"])
async def test_ed25519_is_eddsa_by_its_newer_name(stated: str | None, accepted: str) -> None:
    """RFC 9864 names the algorithm by its curve, in tokens and in keys; issuers change from one to the other."""
    pem = generate_pem("EdDSA")
    members = {**(loaded(pem)[1].public or {}), "kid": "a", "alg": stated}
    server = Server({name: value for name, value in members.items() if value is not None})
    source = JwksClient(server, algorithms=(accepted,), cache_seconds=300, cooldown_seconds=30)
    for named in ("EdDSA", "Ed25519"):
        payload, _ = await prove_remotely(
            by_ed25519({"alg": named, "kid": "a"}, {"sub": "x"}, pem), source, NOW
        )
        assert payload == {"sub": "x"}
    for other in ("Ed448", "ed25519", "EDDSA", "Ed25519 ", "HS256"):
        with pytest.raises(TokenRejected):
            await prove_remotely(by_ed25519({"alg": other, "kid": "a"}, {}, pem), source, NOW)


async def test_an_algorithm_that_is_not_accepted_asks_nobody() -> None:
    server = Server(shown(kid="a"))
    source = server.source()
    algorithms: list[object] = ["HS256", "none", "RS512", None, 7, [], {}]
    for algorithm in algorithms:
        assert await source.candidates(algorithm, "a", NOW) == []
    assert server.asked == 0


@pytest.mark.parametrize(("max_age", "again"), [(None, 300), (3600, 300), (60, 60), (0, 10)])
async def test_a_key_set_is_read_again_before_it_ends(max_age: float | None, again: float) -> None:
    server = Server(shown(kid="a"), max_age=max_age)
    source = server.source()
    await source.follow(NOW)
    await source.follow(NOW + again - 1)
    assert server.asked == 1
    await source.follow(NOW + again)
    assert server.asked == 2


async def test_where_there_is_an_older_set_a_newer_one_is_waited_for_no_longer_than_asked() -> None:
    server = Server(shown(kid="a"))
    source = server.source()
    await source.follow(NOW, 0.01)
    server.may_answer.clear()
    await source.follow(NOW + 300, 0.01)
    assert server.held == 1, "the newer set is still awaited"
    assert len(await source.candidates("EdDSA", "a", NOW + 300)) == 1


async def test_the_last_good_set_is_kept_however_long_there_is_no_newer_one() -> None:
    server = Server(shown(kid="a"))
    source = server.source()
    await source.refresh(NOW)
    server.away = True
    for hour in range(1, 100):
        await source.follow(NOW + 3600 * hour)
        assert len(await source.candidates("EdDSA", "a", NOW + 3600 * hour)) == 1
    assert source.problem == "it is away"
    with pytest.raises(IssuerUnavailable):  # whether it is a new one of theirs cannot be told
        await source.candidates("EdDSA", "b", NOW + 3600 * 100)
    server.away = False
    await source.follow(NOW + 3600 * 101)
    assert source.problem == ""


async def test_without_any_set_there_is_no_verdict_and_it_is_not_asked_for_with_every_token() -> None:
    server = Server(shown(kid="a"))
    server.away = True
    source = server.source()
    for _ in range(20):
        with pytest.raises(IssuerUnavailable):
            await source.candidates("EdDSA", "a", NOW)
    assert server.asked == 1
    server.away = False
    assert len(await source.candidates("EdDSA", "a", NOW + 5)) == 1


GOOD = shown(kid="good")
SMALL = json.loads(
    jwt.algorithms.RSAAlgorithm.to_jwk(
        rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()  # noqa: S505 - to be refused
    )
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[7]}',
        b"\xff",
        b"[" * 100_000,
        json.dumps({"keys": [shown(kid=str(n)) for n in range(MOST_KEYS + 1)]}).encode(),
        json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "good"}]}).encode(),
        json.dumps({"keys": [shown(use="enc")]}).encode(),
        json.dumps({"keys": [shown(alg="HS256")]}).encode(),
        json.dumps({"keys": [shown(alg=["EdDSA"])]}).encode(),
        json.dumps({"keys": [shown(key_ops=["sign"])]}).encode(),
        json.dumps({"keys": [shown(x="AA")]}).encode(),
        json.dumps({"keys": [shown(x=7)]}).encode(),
        json.dumps({"keys": [shown(x=None)]}).encode(),
        json.dumps({"keys": [shown("RS256", e="AA")]}).encode(),
        json.dumps({"keys": [shown("ES256", y="AA")]}).encode(),
        json.dumps({"keys": [shown("ES256", crv="P-384")]}).encode(),
        json.dumps({"keys": [shown(crv=[])]}).encode(),
        json.dumps({"keys": [shown(kty=[])]}).encode(),
        json.dumps({"keys": [shown(kid=[])]}).encode(),
        json.dumps({"keys": [SMALL]}).encode(),
    ],
)
async def test_what_is_no_good_set_does_not_replace_one(body: bytes) -> None:
    server = Server(GOOD)
    source = server.source()
    await source.refresh(NOW)
    server.body = body
    await source.refresh(NOW + 100)
    assert source.problem
    assert len(await source.candidates("EdDSA", "good", NOW + 101)) == 1


async def test_of_a_mixed_set_the_usable_keys_count_each_for_its_algorithms() -> None:
    p384 = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key()))
    server = Server(
        7,  # type: ignore[arg-type]
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
        p384,
        shown("RS256", kid="a", alg=None),
        shown("ES256", kid="a", alg=None, use=None),
        shown("EdDSA", kid=None),
    )
    source = server.source()
    for algorithm in ACCEPTED:
        assert [key.algorithm for key in await source.candidates(algorithm, "a", NOW)] == [algorithm]
    assert [key.algorithm for key in await source.candidates("EdDSA", "whatever", NOW)] == ["EdDSA"]
    assert await source.candidates("HS256", "a", NOW) == []


async def test_a_key_that_is_taken_back_is_told() -> None:
    first, second = shown(kid="a"), shown(kid="b")
    server = Server(first)
    source = server.source()
    told: list[bool] = []
    source.lost = lambda: told.append(True)
    await source.refresh(NOW)
    server.keys = [first, second]
    await source.refresh(NOW + 60)
    assert told == []
    server.keys = [{**second, "kid": "a"}]
    await source.refresh(NOW + 120)
    assert told == [True]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["keys", *GOOD]), inner, max_size=8)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*GOOD, "use", "key_ops", "n", "e", "y"]), JSON), st.booleans())
def test_no_key_of_any_shape_spoils_the_others(changes: dict[str, Any], beside: bool) -> None:
    async def run() -> None:
        server = Server({**GOOD, **changes}, *([GOOD] if beside else []))
        source = server.source()
        await source.refresh(NOW)
        if beside:
            assert source.problem == ""
            assert await source.candidates("EdDSA", "good", NOW)

    asyncio.run(run())


async def test_a_token_without_a_kid_is_by_the_one_key_that_fits() -> None:
    server = Server(shown(kid="a"))
    source = server.source()
    await source.refresh(NOW)
    (only,) = await source.candidates("EdDSA", None, NOW)
    assert only.kid == "a"
    assert await source.candidates("RS256", None, NOW) == []
    server.keys = [shown(kid="a"), shown(kid="b")]
    await source.refresh(NOW + 3600)
    assert await source.candidates("EdDSA", None, NOW + 3600) == [], "which of two it is nobody says"
