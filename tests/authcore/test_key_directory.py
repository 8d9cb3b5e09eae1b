"""Keys from files: which are taken, what they are called, who signs, and what becomes of those that go."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from authcore.crypto.key_directory import MOST_FILES, KeysUnusable, parse_snapshot, take_snapshot
from authcore.crypto.keyring import KeyRing, KeySet, hmac_key
from authcore.crypto.pem import GENERATED, KeyUnusable, generate_pem, parse_pem
from authcore.crypto.rotation import Rotation, open_ring
from authcore.errors import TokenRejected
from authcore.tokens.claims import AccessClaims
from authcore.tokens.inspection import inspect
from authcore.tokens.issuer import Tokens
from tests.support.domain import NOW, SECRET
from tests.support.issuers import by_ed25519

if TYPE_CHECKING:
    from pathlib import Path

WEEK = 7 * 86_400
ALGORITHMS = sorted(GENERATED)


def write(directory: Path, name: str, algorithm: str = "EdDSA") -> str:
    """A key in a file; returns its kid."""
    pem = generate_pem(algorithm)
    (directory / name).write_bytes(pem)
    kid = name.removesuffix(".kid.pem") if name.endswith(".kid.pem") else parse_pem(pem).kid
    assert kid is not None
    return kid


def public_half(pem: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, None).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def opened(directory: Path, *, secret_verifies: bool = True) -> tuple[Tokens, Rotation]:
    ring, rotation = open_ring(
        SECRET, [], secret_verifies=secret_verifies, directory=directory, keep_seconds=WEEK, now=NOW
    )
    assert rotation is not None
    return tokens_of(ring), rotation


def tokens_of(ring: KeyRing) -> Tokens:
    return Tokens(ring, issuer="whatomate", leeway_seconds=0, access_seconds=3600, refresh_seconds=WEEK)


def issue(tokens: Tokens, now: float = NOW) -> str:
    return tokens.issue_access(
        user_id=uuid4(), organization_id=uuid4(), email="a@b.c", role_id=None, is_super_admin=False, now=now
    )


def never() -> None:
    raise AssertionError("a key was withdrawn")


# -- one key ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_a_private_key_signs_its_public_half_verifies(tmp_path: Path, algorithm: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    kid = write(here, "a.pem", algorithm)
    (here / "signing").write_text(f"{kid}\n")
    (there / "b.pem").write_bytes(public_half((here / "a.pem").read_bytes()))
    token = issue(opened(here)[0])
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "kid": kid}
    assert opened(there)[0].verify(token, AccessClaims, NOW).email == "a@b.c"


def test_a_token_may_call_its_algorithm_ed25519(tmp_path: Path) -> None:
    """RFC 9864 names EdDSA by its curve, and another that signs with the key of the directory may as well."""
    kid = write(tmp_path, "a.pem")
    tokens, _ = opened(tmp_path)
    claims = jwt.decode(issue(tokens), options={"verify_signature": False})
    token = by_ed25519({"alg": "Ed25519", "kid": kid}, claims, (tmp_path / "a.pem").read_bytes())
    assert tokens.verify(token, AccessClaims, NOW).email == "a@b.c"
    assert inspect(tokens, token, NOW).valid


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_published_verifies_by_another_library_and_tells_nothing_private(algorithm: str) -> None:
    pem = generate_pem(algorithm)
    key = parse_pem(pem)
    published = json.loads(json.dumps(key.public))
    assert not {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "key_ops"} & published.keys()
    assert (published["kid"], published["alg"], published["use"]) == (key.kid, algorithm, "sig")
    token = jwt.encode({"a": 1}, serialization.load_pem_private_key(pem, None), algorithm=algorithm)  # type: ignore[arg-type]
    assert jwt.decode(token, jwt.PyJWK(published), algorithms=[algorithm]) == {"a": 1}
    assert published["kid"] not in {"", None}
    assert "PRIVATE" not in repr(key)
    assert repr(key.jwk) not in repr(key)


def test_a_key_without_a_name_is_called_by_its_thumbprint() -> None:
    """The key and the thumbprint of RFC 8037 appendix A.3."""
    x = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    pem = ed25519.Ed25519PublicKey.from_public_bytes(x).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert parse_pem(pem).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (rsa.generate_private_key(public_exponent=65537, key_size=1024), "1024 bits"),  # noqa: S505 - to be refused
        (ec.generate_private_key(ec.SECP384R1()), "no RSA, P-256 or Ed25519 key"),
        (ed448.Ed448PrivateKey.generate(), "no RSA, P-256 or Ed25519 key"),
    ],
    ids=["small", "P-384", "Ed448"],
)
def test_a_key_that_is_not_for_signing_tokens_is_refused(key: rsa.RSAPrivateKey, why: str) -> None:
    kind = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    for half in (pem, public_half(pem)):
        with pytest.raises(KeyUnusable, match=why):
            parse_pem(half)
    locked = serialization.BestAvailableEncryption(b"secret")
    with pytest.raises(KeyUnusable, match="encrypted"):
        parse_pem(key.private_bytes(serialization.Encoding.PEM, kind, locked))


def test_what_is_no_key_is_refused_without_telling_it() -> None:
    pem = generate_pem("EdDSA")
    for content in (
        b"",
        b"hunter2",
        pem[:60],
        pem.replace(b"M", b"-"),
        b"-----BEGIN CERTIFICATE-----\nhunter2\n",
    ):
        with pytest.raises(KeyUnusable, match="neither a PEM") as caught:
            parse_pem(content)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__suppress_context__


def test_a_pem_is_no_shared_secret() -> None:
    with pytest.raises(ValueError, match="PEM"):
        hmac_key(public_half(generate_pem("RS256")))


@pytest.mark.parametrize("text", [b"ssh-rsa AAAAB3NzaC1yc2EAAAA", b'{"kty":"oct","k":"c2VjcmV0"}'])
def test_the_text_of_another_key_is_no_shared_secret(text: bytes) -> None:
    with pytest.raises(ValueError, match="text of a key"):
        hmac_key(text)


# -- a directory --------------------------------------------------------------------------------------------------


def parsed(directory: Path) -> KeySet:
    snapshot = take_snapshot(directory)
    assert snapshot is not None
    return parse_snapshot(snapshot)


def test_one_key_signs_and_all_verify(tmp_path: Path) -> None:
    kids = [write(tmp_path, f"{name}.pem", name) for name in ALGORITHMS]
    issued = []
    for kid in kids:
        (tmp_path / "signing").write_text(kid)
        issued.append(issue(opened(tmp_path)[0]))
    (tmp_path / "signing").unlink()
    tokens, _ = opened(tmp_path)
    issued.append(issue(tokens))  # by the shared secret, when no key is named
    assert [jwt.get_unverified_header(one).get("kid") for one in issued] == [*kids, None]
    for token in issued:
        tokens.verify(token, AccessClaims, NOW)


def test_a_file_may_give_its_key_a_name(tmp_path: Path) -> None:
    write(tmp_path, "billing-2026.kid.pem")
    (tmp_path / "signing").write_text("# since March\nbilling-2026  # by hand\n")
    assert jwt.get_unverified_header(issue(opened(tmp_path)[0]))["kid"] == "billing-2026"


def test_other_files_are_nobodys_keys(tmp_path: Path) -> None:
    kid = write(tmp_path, "a.pem")
    (tmp_path / ".a.pem.swp").write_text("hunter2")
    (tmp_path / ".b.pem").write_text("hunter2")
    (tmp_path / "README").write_text("hunter2")
    (tmp_path / "..data").mkdir()
    assert [key.kid for key in parsed(tmp_path).keys] == [kid]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path, "a.pem")
    os.mkfifo(tmp_path / "b.pem")
    with pytest.raises(KeysUnusable, match=r"^b\.pem is a pipe"):
        take_snapshot(tmp_path)


def test_the_two_halves_of_a_pair_are_one_key(tmp_path: Path) -> None:
    kid = write(tmp_path, "b.pem")
    (tmp_path / "a.pem").write_bytes(public_half((tmp_path / "b.pem").read_bytes()))
    (tmp_path / "signing").write_text(kid)
    (key,) = parsed(tmp_path).keys
    assert key.private is not None


def test_the_secret_can_be_switched_off(tmp_path: Path) -> None:
    by_secret = issue(tokens_of(KeyRing(SECRET)))
    kid = write(tmp_path, "a.pem")
    with pytest.raises(KeysUnusable, match="named to sign"):
        opened(tmp_path, secret_verifies=False)
    (tmp_path / "signing").write_text(kid)
    with pytest.raises(TokenRejected):
        opened(tmp_path, secret_verifies=False)[0].verify(by_secret, AccessClaims, NOW)
    opened(tmp_path)[0].verify(by_secret, AccessClaims, NOW)


def spoilt(tmp_path: Path, how: str) -> None:  # noqa: C901 - one case for each way to spoil it
    kid = write(tmp_path, "a.pem")
    match how:
        case "a.pem: neither a PEM":
            (tmp_path / "a.pem").write_text("hunter2")
        case "no file holds the key":
            (tmp_path / "signing").write_text("another")
        case "the public half":
            (tmp_path / "a.pem").write_bytes(public_half((tmp_path / "a.pem").read_bytes()))
            (tmp_path / "signing").write_text(kid)
        case "is revoked":
            (tmp_path / "signing").write_text(kid)
            (tmp_path / "revoked").write_text(kid)
        case "names 2 kids":
            (tmp_path / "signing").write_text(f"{kid}\n{kid}\n")
        case "names 0 kids":
            (tmp_path / "signing").write_text("# soon\n")
        case "a line is no kid":
            (tmp_path / "revoked").write_bytes(b"../../etc/passwd\n")
        case "larger than":
            (tmp_path / "a.pem").write_bytes(b"x" * 100_000)
        case "more than":
            for number in range(MOST_FILES + 1):
                (tmp_path / f"{number}.pem").write_text("x")
        case "no .pem file":
            (tmp_path / "a.pem").unlink()
        case "cannot read":
            (tmp_path / "b.pem").mkdir()


@pytest.mark.parametrize(
    "how",
    [
        "a.pem: neither a PEM",
        "no file holds the key",
        "the public half",
        "is revoked",
        "names 2 kids",
        "names 0 kids",
        "a line is no kid",
        "larger than",
        "more than",
        "no .pem file",
        "cannot read",
    ],
)
async def test_what_cannot_be_taken_is_refused_whole_and_changes_nothing(tmp_path: Path, how: str) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    (good / "signing").write_text(write(good, "a.pem"))
    spoilt(bad, how)
    with pytest.raises(KeysUnusable, match=how) as caught:
        opened(bad)
    assert "hunter2" not in str(caught.value)
    place = tmp_path / "place"
    place.symlink_to(good)
    tokens, rotation = opened(place)
    token = issue(tokens)
    place.unlink()
    place.symlink_to(bad)
    with pytest.raises(KeysUnusable, match=how):
        await rotation.check(NOW + 1, never)
    assert how in rotation.problem
    assert not await rotation.check(NOW + 2, never)  # told once
    tokens.verify(token, AccessClaims, NOW)
    assert jwt.get_unverified_header(issue(tokens)) == jwt.get_unverified_header(token)
    place.unlink()
    place.symlink_to(good)
    assert not await rotation.check(NOW + 3, never)  # as it was: nothing to take
    assert rotation.problem == ""


def test_two_different_keys_of_one_kid_are_refused(tmp_path: Path) -> None:
    kid = write(tmp_path, "a.pem")
    write(tmp_path, f"{kid}.kid.pem")
    with pytest.raises(KeysUnusable, match="two keys are called"):
        opened(tmp_path)


# -- keys that change ---------------------------------------------------------------------------------------------


async def test_no_live_token_is_refused_through_a_whole_rotation(tmp_path: Path) -> None:
    """Add, switch the signer, remove: each as a new directory behind a symbolic link, as Kubernetes swaps a Secret."""
    link = tmp_path / "keys"
    first, second = generate_pem("EdDSA"), generate_pem("ES256")
    kids = [str(parse_pem(pem).kid) for pem in (first, second)]
    stages: list[dict[str, bytes]] = [
        {"one.pem": first, "signing": kids[0].encode()},
        {"one.pem": first, "two.pem": second, "signing": kids[0].encode()},
        {"one.pem": first, "two.pem": second, "signing": kids[1].encode()},
        {"two.pem": second, "signing": kids[1].encode()},
    ]
    tokens, rotation, issued, published = None, None, [], []
    for number, files in enumerate(stages):
        stage = tmp_path / f"..{number}"
        stage.mkdir()
        for name, content in files.items():
            (stage / name).write_bytes(content)
        fresh = tmp_path / "fresh"
        fresh.symlink_to(stage)
        fresh.rename(link)
        if tokens is None or rotation is None:
            tokens, rotation = opened(link)
        else:
            assert await rotation.check(NOW + number, never)
        issued.append(issue(tokens))
        published.append([key["kid"] for key in tokens.ring.published()])
        for token in issued:
            tokens.verify(token, AccessClaims, NOW)
    assert [jwt.get_unverified_header(one)["kid"] for one in issued] == [kids[0], kids[0], kids[1], kids[1]]
    # Published before it signs, and after it is gone.
    assert published == [
        kids[:1],
        kids,
        kids[::-1],
        kids[::-1],
    ]
    assert tokens is not None
    assert rotation is not None
    assert not await rotation.check(NOW + WEEK + 2, never)
    tokens.verify(issued[0], AccessClaims, NOW)  # its last token may live until a moment later
    assert not await rotation.check(NOW + WEEK + 3, never)
    with pytest.raises(TokenRejected):
        tokens.verify(issued[0], AccessClaims, NOW)


async def test_a_revoked_key_verifies_nothing_from_then_on(tmp_path: Path) -> None:
    kids = [write(tmp_path, "a.pem"), write(tmp_path, "b.pem")]
    (tmp_path / "signing").write_text(kids[0])
    tokens, rotation = opened(tmp_path)
    token = issue(tokens)
    (tmp_path / "signing").write_text(kids[1])
    (tmp_path / "revoked").write_text(kids[0])
    told: list[bool] = []
    assert await rotation.check(NOW + 1, lambda: told.append(True))
    assert told == [True]
    assert [key["kid"] for key in tokens.ring.published()] == kids[1:]
    with pytest.raises(TokenRejected):
        tokens.verify(token, AccessClaims, NOW)


async def test_a_retired_key_can_be_revoked_too(tmp_path: Path) -> None:
    kids = [write(tmp_path, "a.pem"), write(tmp_path, "b.pem")]
    (tmp_path / "signing").write_text(kids[0])
    tokens, rotation = opened(tmp_path)
    token = issue(tokens)
    (tmp_path / "signing").write_text(kids[1])
    (tmp_path / "a.pem").unlink()
    assert await rotation.check(NOW + 1, never)
    tokens.verify(token, AccessClaims, NOW)
    (tmp_path / "revoked").write_text(kids[0])
    told: list[bool] = []
    assert await rotation.check(NOW + 2, lambda: told.append(True))
    assert told == [True]
    with pytest.raises(TokenRejected):
        tokens.verify(token, AccessClaims, NOW)


async def test_a_name_that_passes_to_another_key_keeps_the_first_ones_tokens(tmp_path: Path) -> None:
    write(tmp_path, "main.kid.pem")
    (tmp_path / "signing").write_text("main")
    tokens, rotation = opened(tmp_path)
    before = issue(tokens)
    write(tmp_path, "main.kid.pem", "EdDSA")
    assert await rotation.check(NOW + 1, never)
    for token in (before, issue(tokens)):
        assert jwt.get_unverified_header(token)["kid"] == "main"
        tokens.verify(token, AccessClaims, NOW)


async def test_a_key_that_comes_back_is_as_it_was(tmp_path: Path) -> None:
    kid = write(tmp_path, "a.pem")
    write(tmp_path, "b.pem")
    tokens, rotation = opened(tmp_path)
    content = (tmp_path / "a.pem").read_bytes()
    (tmp_path / "a.pem").unlink()
    assert await rotation.check(NOW + 1, never)
    (tmp_path / "a.pem").write_bytes(content)
    assert await rotation.check(NOW + 2, never)
    assert not await rotation.check(NOW + 2 * WEEK, never)
    assert kid in [key["kid"] for key in tokens.ring.published()]


def test_secrets_alone_publish_nothing() -> None:
    assert KeyRing(SECRET, [b"another"]).published() == []
