"""The requests of docs/packages/vectors.json, which every language's package takes or refuses alike."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from whatomate_identity import IdentityRejected, KeySet, SharedSecrets, Verifier
from whatomate_identity.verifier import path_of

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors.json").read_text(encoding="utf-8"))


def verifier(algorithm: str = "EdDSA") -> Verifier:
    jwks = json.dumps(VECTORS["jwks"]).encode()
    keys = (
        SharedSecrets([VECTORS["secret"]])
        if algorithm == "HS256"
        else KeySet("http://gateway/keys", fetch=lambda: jwks)
    )
    return Verifier(
        keys,
        audience=VECTORS["audience"],
        issuer=VECTORS["issuer"],
        leeway_seconds=VECTORS["leeway_seconds"],
        clock=lambda: VECTORS["now"],
    )


def lines(case: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in case["headers"]]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_a_request_is_taken_or_refused_as_in_every_language(case: dict[str, Any]) -> None:
    verify = verifier(case["algorithm"])
    path = path_of(case["target"].encode())
    if "reason" in case:
        with pytest.raises(IdentityRejected) as caught:
            verify.verify(case["method"], path, lines(case))
        assert caught.value.reason == case["reason"]
        return
    identity = verify.verify(case["method"], path, lines(case))
    permissions = identity.permissions
    assert {
        **asdict(identity),
        "permissions": None if permissions is None else sorted(permissions),
    } == case["identity"]


def test_an_application_sees_what_is_signed_and_nothing_else() -> None:
    (case,) = (one for one in VECTORS["cases"] if one["name"] == "plain headers that say something else")
    verify = verifier()
    identity = verify.verify("GET", b"/bills/7", lines(case))
    seen = verify.with_claims([*lines(case), (b"Accept", b"*/*"), (b"X-Identity-Proof", b"x")], identity)
    names = [name.lower() for name, _ in seen]
    assert len(names) == len(set(names))
    assert (b"Accept", b"*/*") in seen
    assert dict(seen)[b"x-user-name"].decode() == case["identity"]["name"]
    assert dict(seen)[b"x-user-id"].decode() == case["identity"]["user_id"]
    assert not [
        line for line in seen if b"Mallory" in line[1] or line[0] in {b"x_user.name", b"X-Identity-Proof"}
    ]


def test_an_application_is_given_every_header_though_none_was_sent_but_the_signed_one() -> None:
    sent, verify = lines(VECTORS["cases"][0]), verifier()
    seen = verify.with_claims(sent, verify.verify("GET", b"/bills/7", sent))
    read = {name.decode().lower(): value.decode() for name, value in seen if name != b"X-Identity"}
    assert read == VECTORS["restored"]
