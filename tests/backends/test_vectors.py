"""docs/packages/vectors.json is what the gateway's own signer makes; its packages restore what the gateway sends."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING
from zipfile import ZipFile

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from authcore import identity_headers
from tests.backends.services import PACKAGES
from tests.backends.vectors import AUDIENCE, FILE, LISTED, NOW, ZOE, document, pem_of, signer, token
from whatomate_identity.testing import SigningGateway
from whatomate_identity.verifier import FAMILIES

if TYPE_CHECKING:
    from pathlib import Path


def test_the_vectors_are_fresh() -> None:
    assert FILE.read_text(encoding="utf-8") == document(), (
        "the signer or a case has changed: python -m tests.backends.vectors > docs/packages/vectors.json"
    )


def test_the_families_of_the_package_are_the_gateways() -> None:
    assert tuple(family.encode() for family in identity_headers.FAMILIES) == FAMILIES


def test_an_identity_made_for_tests_says_what_the_gateway_says() -> None:
    made = _gateway().headers(
        "GET",
        "/bills/7",
        user_id=str(ZOE.user_id),
        organization_id=str(ZOE.organization_id),
        email=ZOE.email,
        name=ZOE.name,
        role=ZOE.role,
        role_id=str(ZOE.role_id),
        permissions=ZOE.permissions,
        auth_method="api_key",
        key_id=str(ZOE.key_id),
        request_id="request-0001",
        now=NOW,
    )
    ours, theirs = token(), made["X-Identity"]
    read = (jwt.decode(one, options={"verify_signature": False}) for one in (ours, theirs))
    assert next(read) == next(read)
    assert jwt.get_unverified_header(theirs) == jwt.get_unverified_header(ours)
    assert made["X-User-Permissions"] == LISTED
    assert _gateway().jwks()["keys"] == [signer().public]


def test_the_package_needs_nothing_of_the_gateway(tmp_path: Path) -> None:
    """It is built and run from its wheel, with the libraries that it names."""
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=PACKAGES / "python",
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert {name.split("/")[0].split("-")[0] for name in ZipFile(wheel).namelist()} == {"whatomate_identity"}
    program = (
        "import json, sys, whatomate_identity.asgi, whatomate_identity.wsgi, whatomate_identity.aiohttp\n"
        "import whatomate_identity.testing\n"
        "print(json.dumps([whatomate_identity.__file__, *(n for n in sys.modules if n.split('.')[0] in"
        " ('gateway', 'authcore', 'config'))]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(wheel)},
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
        check=True,
    )
    (file,) = json.loads(ran.stdout)
    assert file.startswith(str(wheel))


def _gateway() -> SigningGateway:
    key = load_pem_private_key(pem_of(1), None)
    return SigningGateway(audience=AUDIENCE, private_key=key)  # type: ignore[arg-type] # Ed25519, by its making
