"""Signing settings: the keys that may sign identities."""

from __future__ import annotations

import pytest

from tests.config.loading import SECRET, load, problems_of

PEM = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


def test_identities_are_not_signed_by_default() -> None:
    assert load().signed.identity == "off"


@pytest.mark.parametrize(
    ("algorithm", "key", "problem"),
    [
        ("HS256", "", "required with GATEWAY_SIGNED_IDENTITY=HS256"),
        ("EdDSA", "", "required with GATEWAY_SIGNED_IDENTITY=EdDSA"),
        ("HS256", "short", "should be a secret of at least 32 bytes"),
        ("HS256", PEM * 2, "should be a secret of at least 32 bytes"),
        ("HS256", SECRET, "is a secret of another purpose"),
        ("EdDSA", "a-secret-where-a-key-in-pem-should-be-0123", "should be an Ed25519 private key in PEM"),
    ],
)
def test_a_key_that_is_not_for_this_is_refused(algorithm: str, key: str, problem: str) -> None:
    more = {"GATEWAY_SIGNED_KEY": key} if key else {}
    found = problems_of({"GATEWAY_SIGNED_IDENTITY": algorithm, **more})
    assert [one.startswith(f"GATEWAY_SIGNED_KEY: {problem}") for one in found] == [True]
    assert not key or key.strip() not in "".join(found)


def test_a_good_key_is_taken() -> None:
    for algorithm, key in (("HS256", "another-secret-of-thirty-two-bytes-or-more"), ("EdDSA", PEM)):
        assert (
            load({"GATEWAY_SIGNED_IDENTITY": algorithm, "GATEWAY_SIGNED_KEY": key}).signed.identity
            == algorithm
        )


def test_keys_are_not_published_where_none_signs() -> None:
    public = {"GATEWAY_SIGNED_PUBLISHED_KEYS": "-----BEGIN PUBLIC KEY-----"}
    for more in (
        {},
        {"GATEWAY_SIGNED_IDENTITY": "HS256", "GATEWAY_SIGNED_KEY": "a-secret-of-identities-and-nobody-else"},
    ):
        (found,) = problems_of({**public, **more})
        assert found.startswith("GATEWAY_SIGNED_PUBLISHED_KEYS: has no effect")


def test_a_private_key_is_not_published_nor_printed() -> None:
    signs = {"GATEWAY_SIGNED_IDENTITY": "EdDSA", "GATEWAY_SIGNED_KEY": PEM}
    public = PEM.replace("PRIVATE", "PUBLIC")
    for published in (PEM, public + PEM, "nonsense"):
        (found,) = problems_of({**signs, "GATEWAY_SIGNED_PUBLISHED_KEYS": published})
        assert found.startswith("GATEWAY_SIGNED_PUBLISHED_KEYS: should be Ed25519 public keys in PEM")
        assert "AAAA" not in found
    assert load({**signs, "GATEWAY_SIGNED_PUBLISHED_KEYS": public}).signed.published_keys == public
