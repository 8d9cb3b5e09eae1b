"""Issuing and verifying tokens: kinds, times, signatures, and everything a forger may try."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from authcore.crypto import jws
from authcore.crypto.keyring import KeyRing
from authcore.errors import (
    AuthError,
    TokenExpired,
    TokenMalformed,
    TokenRejected,
    TokenWrongKind,
)
from authcore.tokens.claims import AccessClaims, AnyClaims, RefreshClaims, TicketClaims
from authcore.tokens.inspection import inspect
from tests.support.domain import NOW, SECRET, make_tokens

USER, ORGANIZATION, ROLE = uuid4(), uuid4(), uuid4()
TOKENS = make_tokens()
KINDS: tuple[type[AnyClaims], ...] = (AccessClaims, RefreshClaims, TicketClaims)


def whatomate(**changes: object) -> dict[str, object]:
    """The payload of an access token as Whatomate writes it; None removes a claim."""
    claims = {
        "user_id": str(USER),
        "organization_id": str(ORGANIZATION),
        "email": "user@example.com",
        "role_id": str(ROLE),
        "is_super_admin": False,
        "iss": "whatomate",
        "iat": int(NOW),
        "exp": int(NOW) + 3600,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def encode(part: bytes) -> bytes:
    return urlsafe_b64encode(part).rstrip(b"=")


def sign(
    payload: bytes | dict[str, object], header: dict[str, object] | None = None, key: bytes = SECRET
) -> bytes:
    """An HS256 signature over anything at all: what a Go program with the secret could send."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = json.dumps({"alg": "HS256", "typ": "JWT"} if header is None else header).encode()
    signing_input = encode(head) + b"." + encode(body)
    return signing_input + b"." + encode(hmac.digest(key, signing_input, sha256))


def access(**changes: Any) -> str:
    return TOKENS.issue_access(
        user_id=USER,
        organization_id=ORGANIZATION,
        email="user@example.com",
        role_id=changes.get("role_id", ROLE),
        is_super_admin=False,
        now=NOW,
    )


def refresh() -> str:
    return TOKENS.issue_refresh(
        user_id=USER,
        organization_id=ORGANIZATION,
        email="user@example.com",
        role_id=ROLE,
        is_super_admin=False,
        now=NOW,
    )


# -- issue ------------------------------------------------------------------------------------------------------


def test_an_issued_token_says_what_whatomate_reads_in_it() -> None:
    claims = read(access())
    assert claims.pop("token_use") == "access"
    assert claims == whatomate()
    assert "role_id" not in read(access(role_id=None))
    claims = read(refresh())
    assert claims["exp"] == NOW + 7 * 86_400
    assert len(claims["jti"]) == 36
    claims = read(TOKENS.issue_ticket(user_id=USER, organization_id=ORGANIZATION, now=NOW))
    assert (claims["sub"], claims["exp"]) == ("ws", NOW + 30)


def test_a_token_names_its_session_and_no_access_token_carries_a_jti() -> None:
    session = uuid4()
    about: dict[str, Any] = {"user_id": USER, "organization_id": ORGANIZATION, "now": NOW}
    user: dict[str, Any] = {"email": "user@example.com", "role_id": None, "is_super_admin": False}
    issued: dict[type[AnyClaims], str] = {
        AccessClaims: TOKENS.issue_access(**about, **user, session_id=session),
        RefreshClaims: TOKENS.issue_refresh(**about, **user, session_id=session),
        TicketClaims: TOKENS.issue_ticket(**about, session_id=session),
    }
    short = encode(session.bytes).decode()
    for kind, token in issued.items():
        claims = read(token)
        assert (claims.get("sid"), claims.get("s")) == (
            (str(session), None) if kind is RefreshClaims else (None, short)
        )
        claimed: Any = TOKENS.verify(token, kind, NOW)
        assert claimed.session_id == session
    assert "jti" not in read(issued[AccessClaims])
    assert not {"s", "sid"} & set(read(access()))
    assert TOKENS.verify(access(), AccessClaims, NOW).session_id is None


def test_the_session_of_somebody_elses_token_is_none_of_ours() -> None:
    for sid in (str(uuid4()), "theirs", 7):
        assert TOKENS.verify(sign(whatomate(sid=sid)), AccessClaims, NOW).session_id is None
    for other in ("theirs", 7, "", [str(uuid4())]):
        with pytest.raises(TokenMalformed):
            TOKENS.verify(sign(whatomate(sid=other, token_use="access")), AccessClaims, NOW)


def test_a_session_in_short_is_that_very_session_or_none() -> None:
    session = uuid4()
    short = encode(session.bytes).decode()
    claims = TOKENS.verify(sign(whatomate(s=short)), AccessClaims, NOW)
    assert (claims.session_id, claims.is_ours) == (session, True)
    bad: list[object] = [
        "",
        short[:-1],
        short + "A",
        short[:-1] + "B",
        short + "==",
        str(session),
        7,
        [short],
        True,
    ]
    for one in bad:
        with pytest.raises(TokenMalformed):
            TOKENS.verify(sign(whatomate(s=one)), AccessClaims, NOW)
    with pytest.raises(TokenMalformed):
        TOKENS.verify(sign({**whatomate(), "s": None}), AccessClaims, NOW)


@pytest.mark.parametrize(
    "beside",
    [{"sid": str(uuid4())}, {"jti": "x"}, {"sub": "ws"}, {"token_use": "ws"}, {"token_use": "invitation"}],
)
def test_a_session_in_short_beside_what_contradicts_it_is_malformed(beside: dict[str, object]) -> None:
    for kind in KINDS:
        with pytest.raises(TokenMalformed):
            TOKENS.verify(sign(whatomate(s=encode(uuid4().bytes).decode(), **beside)), kind, NOW)


def test_a_uuid_without_hyphens_is_one_in_a_short_token_alone() -> None:
    short = {"s": encode(uuid4().bytes).decode()}
    for name in ("user_id", "organization_id", "role_id"):
        bare = {name: USER.hex}
        assert getattr(TOKENS.verify(sign(whatomate(**bare, **short)), AccessClaims, NOW), name) == USER
        for spelt in (USER.hex.upper(), f"{{{USER}}}", f"urn:uuid:{USER}", USER.hex + "0"):
            with pytest.raises(TokenMalformed):
                TOKENS.verify(sign(whatomate(**{name: spelt}, **short)), AccessClaims, NOW)
        for other in ({}, {"token_use": "access"}):
            with pytest.raises(TokenMalformed):
                TOKENS.verify(sign(whatomate(**bare, **other)), AccessClaims, NOW)


def first_message(token: str) -> str:
    """Return the first message of Whatomate's clients in a WebSocket."""
    return json.dumps({"type": "auth", "payload": {"token": token}}, separators=(",", ":"))


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize("role", [None, ROLE])
@pytest.mark.parametrize("session", [None, uuid4()])
def test_a_first_message_with_a_token_of_ours_stays_below_512_bytes(
    root: bool, role: UUID | None, session: UUID | None
) -> None:
    for length in (0, 17, 30, 34, 35, 36, 39, 40):
        token = TOKENS.issue_access(
            user_id=USER,
            organization_id=ORGANIZATION,
            email="é"[: length % 2] + "x" * (length - 2 * (length % 2)),
            role_id=role,
            is_super_admin=root,
            now=9_999_999_999,
            session_id=session,
        )
        assert len(first_message(token)) < 512, length
        claims = TOKENS.verify(token, AccessClaims, 9_999_999_999)
        assert (claims.user_id, claims.organization_id, claims.role_id) == (USER, ORGANIZATION, role)
        assert (claims.is_super_admin, claims.session_id, claims.is_ours) == (root, session, True)
        theirs = read(token)
        assert UUID(theirs["user_id"]) == USER
        assert theirs.get("is_super_admin", False) is root
    ticket = TOKENS.issue_ticket(user_id=USER, organization_id=ORGANIZATION, now=NOW, session_id=session)
    assert len(first_message(ticket)) < 440


def test_a_token_that_has_room_says_everything_in_full() -> None:
    token = TOKENS.issue_access(
        user_id=USER,
        organization_id=ORGANIZATION,
        email="x" * 34,
        role_id=ROLE,
        is_super_admin=False,
        now=NOW,
        session_id=uuid4(),
    )
    claims = read(token)
    assert (claims["user_id"], claims["is_super_admin"]) == (str(USER), False)


def test_tokens_of_before_there_was_a_short_spelling_are_good() -> None:
    session = uuid4()
    old = whatomate(sid=str(session), token_use="access")
    claims = TOKENS.verify(sign(old), AccessClaims, NOW)
    assert (claims.session_id, claims.is_ours) == (session, True)
    ticket = whatomate(sid=str(session), token_use="ws", sub="ws", jti=str(uuid4()))
    assert TOKENS.verify(sign(ticket), TicketClaims, NOW).session_id == session


def read(token: str) -> dict[str, Any]:
    """Another program's reading of a token; its clock is the real one, and not at issue."""
    return jwt.decode(token, SECRET, algorithms=["HS256"], issuer="whatomate", options={"verify_iat": False})


def test_no_two_refresh_tokens_are_alike() -> None:
    assert refresh() != refresh()


def test_what_is_issued_verifies_as_its_kind_and_no_other() -> None:
    issued = {
        AccessClaims: access(),
        RefreshClaims: refresh(),
        TicketClaims: TOKENS.issue_ticket(user_id=USER, organization_id=ORGANIZATION, now=NOW),
    }
    for made, token in issued.items():
        for asked in KINDS:
            if asked is made:
                claims: Any = TOKENS.verify(token, asked, NOW)
                assert (claims.user_id, claims.organization_id, claims.is_ours) == (USER, ORGANIZATION, True)
            else:
                with pytest.raises(TokenWrongKind):
                    TOKENS.verify(token, asked, NOW)


def test_the_kind_of_whatomates_own_tokens_is_told_by_sub_and_jti() -> None:
    kinds: list[tuple[dict[str, object], type[AnyClaims]]] = [
        (whatomate(), AccessClaims),
        (whatomate(jti=str(uuid4())), RefreshClaims),
        (whatomate(sub="ws", email=None, role_id=None, is_super_admin=None), TicketClaims),
        (whatomate(sub="ws", jti=str(uuid4())), TicketClaims),
    ]
    for payload, kind in kinds:
        claims: Any = TOKENS.verify(sign(payload), kind, NOW)
        assert not claims.is_ours
        assert type(claims) is kind
        for other in set(KINDS) - {kind}:
            with pytest.raises(TokenWrongKind):
                TOKENS.verify(sign(payload), other, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"token_use": "root"},
        {"token_use": ""},
        {"token_use": 1},
        {"token_use": ["access"]},
        {"token_use": {}},
        {"token_use": "access", "sub": "ws"},
        {"token_use": "refresh", "sub": "ws", "jti": "x"},
        {"token_use": "ws"},
        {"token_use": "refresh"},
    ],
)
def test_a_token_that_contradicts_itself_is_malformed(changes: dict[str, object]) -> None:
    for kind in KINDS:
        with pytest.raises(TokenMalformed):
            TOKENS.verify(sign(whatomate(**changes)), kind, NOW)


def test_a_null_kind_is_not_the_absence_of_one() -> None:
    body = json.dumps({**whatomate(), "token_use": None}).encode()
    with pytest.raises(TokenMalformed):
        TOKENS.verify(sign(body), AccessClaims, NOW)


def test_the_kind_claim_wins_over_a_jti() -> None:
    claims = TOKENS.verify(sign(whatomate(token_use="access", jti="x")), AccessClaims, NOW)
    assert claims.is_ours


# -- time -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leeway", [0, 5])
def test_a_token_lives_until_its_exp_and_leeway_and_not_a_moment_longer(leeway: float) -> None:
    tokens = make_tokens(leeway=leeway)
    token = sign(whatomate(exp=int(NOW), iat=int(NOW) - 3600))
    tokens.verify(token, AccessClaims, NOW + leeway - 0.001)
    with pytest.raises(TokenExpired):
        tokens.verify(token, AccessClaims, NOW + leeway)


def test_a_token_that_is_not_good_yet_is_refused_but_for_the_leeway() -> None:
    token = sign(whatomate(nbf=NOW + 3))
    with pytest.raises(TokenRejected):
        TOKENS.verify(token, AccessClaims, NOW)
    TOKENS.verify(token, AccessClaims, NOW + 3)
    make_tokens(leeway=3).verify(token, AccessClaims, NOW)


def test_a_token_of_an_issuer_whose_clock_is_ahead_is_taken() -> None:
    TOKENS.verify(sign(whatomate(iat=NOW + 600)), AccessClaims, NOW)


@pytest.mark.parametrize("leeway", [0, 5])
def test_a_token_that_was_issued_far_in_the_future_is_refused(leeway: float) -> None:
    """By a clock that was wrong for a moment: such a token would last for as long as the clock was ahead."""
    tokens, latest = make_tokens(leeway=leeway), NOW + leeway + 900
    for kind, changes in zip(KINDS, ({}, {"jti": "x"}, {"sub": "ws"}), strict=True):
        tokens.verify(sign(whatomate(iat=latest, exp=latest + 3600, **changes)), kind, NOW)
        with pytest.raises(TokenRejected):
            tokens.verify(sign(whatomate(iat=latest + 1, exp=latest + 3600, **changes)), kind, NOW)


def test_the_clock_of_the_machine_is_not_asked() -> None:
    TOKENS.verify(sign(whatomate(exp=100, iat=1)), AccessClaims, 50)
    TOKENS.verify(sign(whatomate(exp=200_000_000_000, iat=100_000_000_000)), AccessClaims, 150_000_000_000)


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "literal",
    [
        '"1900000000"',
        "true",
        "false",
        "[]",
        "{}",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1",
        "-1e400",
        "9" * 400,
        "9" * 5000,
        "253402300800",
    ],
)
def test_a_time_that_is_no_sane_number_is_malformed(claim: str, literal: str) -> None:
    body = json.dumps(whatomate(**{claim: "@"})).replace('"@"', literal).encode()
    with pytest.raises(TokenMalformed):
        TOKENS.verify(sign(body), AccessClaims, NOW)


def test_a_token_without_exp_is_malformed() -> None:
    for body in (whatomate(exp=None), json.dumps({**whatomate(), "exp": None}).encode()):
        with pytest.raises(TokenMalformed):
            TOKENS.verify(sign(body), AccessClaims, NOW)


def test_a_fractional_exp_is_a_time() -> None:
    token = sign(whatomate(exp=NOW + 0.5))
    TOKENS.verify(token, AccessClaims, NOW + 0.4)
    with pytest.raises(TokenExpired):
        TOKENS.verify(token, AccessClaims, NOW + 0.5)


# -- claims -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": None},
        {"organization_id": None},
        {"user_id": 7},
        {"user_id": ""},
        {"user_id": "{" + str(USER) + "}"},
        {"user_id": USER.hex},
        {"user_id": f"urn:uuid:{USER}"},
        {"user_id": f"{USER}\n"},
        {"organization_id": [str(ORGANIZATION)]},
        {"role_id": "admin"},
        {"is_super_admin": "true"},
        {"is_super_admin": 1},
        {"email": 1},
        {"email": "a\0b"},
        {"email": "\ud800"},
        {"email": "x" * 2000},
        {"sub": 1},
        {"jti": 1},
        {"jti": ""},
        {"iss": ["whatomate"]},
    ],
)
def test_a_claim_of_the_wrong_type_is_malformed(changes: dict[str, object]) -> None:
    for kind in KINDS:
        with pytest.raises(TokenMalformed):
            TOKENS.verify(sign(whatomate(**changes)), kind, NOW)


@pytest.mark.parametrize(
    "changes", [{"iss": None}, {"iss": "Whatomate"}, {"iss": "other"}, {"aud": "other"}, {"aud": []}]
)
def test_a_token_of_another_issuer_or_for_another_audience_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(TokenRejected):
        TOKENS.verify(sign(whatomate(**changes)), AccessClaims, NOW)


def test_claims_that_are_nobodys_concern_are_ignored() -> None:
    TOKENS.verify(sign(whatomate(extra={"deep": [1]}, permissions=["*:*"])), AccessClaims, NOW)


# -- keys -------------------------------------------------------------------------------------------------------


def test_a_previous_secret_verifies_and_does_not_sign() -> None:
    old, new = b"o" * 32, b"n" * 32
    rotated = make_tokens(new, old)
    token = sign(whatomate(), key=old)
    rotated.verify(token, AccessClaims, NOW)
    with pytest.raises(TokenRejected):
        make_tokens(new).verify(token, AccessClaims, NOW)
    issued = rotated.issue_ticket(user_id=USER, organization_id=ORGANIZATION, now=NOW)
    with pytest.raises(TokenRejected):
        make_tokens(old).verify(issued, TicketClaims, NOW)


def test_a_secret_is_in_no_representation() -> None:
    ring = KeyRing(b"top-secret-" * 4, [b"older-secret" * 4])
    shown = repr(ring) + repr(ring.signing) + str(ring.candidates("HS256", None)) + repr(vars(TOKENS))
    for secret in ("top-secret", "older-secret", encode(b"top-secret-" * 4).decode(), SECRET.decode()):
        assert secret not in shown


def test_an_empty_secret_makes_no_ring() -> None:
    with pytest.raises(ValueError, match="empty"):
        KeyRing(b"")


# -- forgery ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "algorithm",
    ["none", "None", "NONE", "nOnE", "", "HS384", "hs256", "RS256", "ES256", None, 5, ["HS256"], {}],
)
def test_no_other_algorithm_than_the_keys_is_accepted(algorithm: object) -> None:
    token = sign(whatomate(), {"alg": algorithm, "typ": "JWT"})
    unsigned = token.rpartition(b".")[0] + b"."
    for one in (token, unsigned, unsigned + b"AA"):
        with pytest.raises(TokenRejected):
            TOKENS.verify(one, AccessClaims, NOW)


def test_a_header_without_algorithm_is_refused() -> None:
    with pytest.raises(TokenRejected):
        TOKENS.verify(sign(whatomate(), {"typ": "JWT"}), AccessClaims, NOW)


def test_other_hmacs_by_the_right_secret_are_refused() -> None:
    for algorithm in ("HS384", "HS512"):
        token = jwt.encode(whatomate(), SECRET * 2, algorithm=algorithm)
        with pytest.raises(TokenRejected):
            make_tokens(SECRET * 2).verify(token, AccessClaims, NOW)


def test_a_key_that_a_token_brings_along_is_not_used() -> None:
    """CVE-2018-0114 and its family: jwk, jku, x5c; and an RSA key's public half as an HMAC secret."""
    private = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
    by_rsa = jwt.encode(whatomate(), private, algorithm="RS256", headers={"jwk": jwk, "kid": "x"})
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    own = b"attacker" * 4
    oct_jwk = {"kty": "oct", "k": encode(own).decode(), "alg": "HS256"}
    forged: list[str | bytes] = [
        by_rsa,
        sign(whatomate(), key=pem),
        sign(whatomate(), {"alg": "HS256", "jwk": oct_jwk}, own),
        sign(whatomate(), {"alg": "HS256", "kid": "../../dev/null"}, b"\0"),
        sign(whatomate(), {"alg": "HS256", "jku": "http://127.0.0.1/keys", "x5u": "http://127.0.0.1/"}, own),
        sign(whatomate(), key=b""),
    ]
    for token in forged:
        with pytest.raises(TokenRejected):
            TOKENS.verify(token, AccessClaims, NOW)


@pytest.mark.parametrize("kid", ["x", "", "../../etc/passwd", "' OR 1=1"])
def test_a_kid_chooses_nothing_where_keys_have_no_names(kid: str) -> None:
    TOKENS.verify(sign(whatomate(), {"alg": "HS256", "kid": kid}), AccessClaims, NOW)


@pytest.mark.parametrize(
    "extra",
    [
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"crit": None},
        {"b64": False},
        {"b64": True},
    ],
)
def test_a_token_that_demands_extensions_is_refused(extra: dict[str, object]) -> None:
    with pytest.raises(TokenRejected):
        TOKENS.verify(sign(whatomate(), {"alg": "HS256", **extra}), AccessClaims, NOW)


def test_one_token_has_one_spelling() -> None:
    """Or a used refresh token could be used again in another: its digest would be new."""
    token = sign(whatomate())
    head, payload, signature = token.split(b".")
    last = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    sibling = last[last.index(signature[-1:]) ^ 1 :][:1]
    for other in (
        token + b"=",
        token + b"==",
        token + b"\n",
        b" " + token,
        token[:-1] + sibling,
        b".".join((head + b"=", payload, signature)),
        token.replace(b".", b"..", 1),
        token + b".",
        b"." + token,
    ):
        with pytest.raises(TokenRejected):
            TOKENS.verify(other, AccessClaims, NOW)


@given(
    st.lists(st.integers(0, 400), max_size=2),
    st.sampled_from(b"ABwQ_-.=+/ "),
    st.sampled_from([{"alg": "HS256"}, {"alg": "HS256", "kid": "x"}, {"alg": "HS512"}, {}]),
    st.dictionaries(
        st.sampled_from(["exp", "user_id", "x"]), st.integers() | st.text(max_size=9), max_size=3
    ),
)
def test_nothing_is_proved_that_pyjwt_refuses_and_nothing_is_read_otherwise(
    places: list[int], byte: int, head: dict[str, object], payload: dict[str, object]
) -> None:
    token = bytearray(sign(payload, head))
    for place in places:
        token[place % len(token)] = byte
    try:
        bounded = jws.bounded(bytes(token))
        proved = jws.prove(bounded, jws.read_header(bounded), TOKENS.ring)
    except TokenRejected:
        assert places or head.get("alg") != "HS256"
        return
    assert proved == json.loads(jwt.PyJWS().decode(bytes(token), SECRET, algorithms=["HS256"]))


def test_an_altered_token_is_refused_wherever_it_was_altered() -> None:
    token = access().encode()
    for place in range(0, len(token), 7):
        altered = token[:place] + (b"A" if token[place : place + 1] != b"A" else b"B") + token[place + 1 :]
        with pytest.raises(TokenRejected):
            TOKENS.verify(altered, AccessClaims, NOW)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 1100,
        b"[" * 3000 + b"]" * 3000,
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b"9" * 5000,
        b'{"exp":' + b"9" * 5000 + b"}",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"exp": 1',
        b"\x00",
        json.dumps({"exp": 1}).encode("utf-16"),
        json.dumps({"exp": 1}).encode("utf-32"),
    ],
)
def test_what_is_no_json_object_is_malformed_however_well_signed(body: bytes) -> None:
    with pytest.raises(TokenMalformed):
        TOKENS.verify(sign(body), AccessClaims, NOW)


@pytest.mark.parametrize(
    "head",
    [
        b"[" * 3000,
        b'{"alg":' * 800,
        b"9" * 5000,
        b"[]",
        b"null",
        b"",
        b"\xff",
        b'{"alg":"HS256"',
        b'{"alg":"HS256","kid":1}',
    ],
)
def test_an_unreadable_header_is_refused(head: bytes) -> None:
    signing_input = encode(head) + b"." + encode(json.dumps(whatomate()).encode())
    token = signing_input + b"." + encode(hmac.digest(SECRET, signing_input, sha256))
    with pytest.raises(TokenRejected):
        TOKENS.verify(token, AccessClaims, NOW)


def test_a_token_over_8_kib_is_refused_unread() -> None:
    TOKENS.verify(sign(whatomate(extra="x" * 4000)), AccessClaims, NOW)
    for token in (sign(whatomate(extra="x" * 7000)), "x" * 50_000_000, b"." * 50_000_000, "é" * 100):
        with pytest.raises(TokenMalformed):
            TOKENS.verify(token, AccessClaims, NOW)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
some_claims = st.dictionaries(
    st.sampled_from([*whatomate(), "jti", "sub", "nbf", "aud", "token_use", "s", "sid"]),
    json_values,
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.text(max_size=200)
    | st.from_regex(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
)
def test_no_input_makes_verification_raise_anything_but_a_rejection(token: str | bytes) -> None:
    for kind in KINDS:
        with pytest.raises(TokenRejected):
            TOKENS.verify(token, kind, NOW)
    assert not inspect(TOKENS, token, NOW).valid


@settings(max_examples=200, deadline=None)
@given(some_claims, st.binary(max_size=60))
def test_no_genuine_payload_makes_verification_raise_anything_but_a_rejection(
    claims: dict[str, object], body: bytes
) -> None:
    for payload in (sign({**whatomate(), **claims}), sign(body)):
        for kind in KINDS:
            try:
                verified = TOKENS.verify(payload, kind, NOW)
            except AuthError as error:
                assert isinstance(error, TokenRejected)  # noqa: PT017 - either is lawful
            else:
                assert isinstance(verified, kind)
        assert isinstance(inspect(TOKENS, payload, NOW).reason, str)


# -- inspect ----------------------------------------------------------------------------------------------------


def test_inspection_explains_and_gives_nothing_away() -> None:
    token = access()
    seen = inspect(TOKENS, token, NOW)
    assert (seen.valid, seen.is_genuine, seen.kind, seen.reason) == (True, True, "access", "")
    assert seen.claims["email"] == "user@example.com"
    assert token.rpartition(".")[2] not in repr(seen)
    assert SECRET.decode() not in repr(seen)


@pytest.mark.parametrize(
    ("token", "reason", "is_genuine"),
    [
        ("nonsense", "not a JWT", False),
        (sign(whatomate(), key=b"x" * 32), "signature", False),
        (sign(whatomate(), {"alg": "none"}), "algorithm 'none'", False),
        (sign(whatomate(), {"alg": "HS256", "b64": True}), "extensions", False),
        (sign(whatomate(exp=int(NOW) - 1)), "expired", True),
        (sign(whatomate(exp="x")), "claim", True),
        (sign(whatomate(iss="other")), "issuer", True),
        (sign(whatomate(nbf=int(NOW) + 9)), "not valid yet", True),
    ],
)
def test_inspection_says_why_not(token: str | bytes, reason: str, is_genuine: bool) -> None:
    seen = inspect(TOKENS, token, NOW)
    assert not seen.valid
    assert reason in seen.reason
    assert seen.is_genuine is is_genuine


def test_claims_cannot_be_altered_after_verification() -> None:
    claims = TOKENS.verify(access(), AccessClaims, NOW)
    with pytest.raises(AttributeError):
        claims.is_super_admin = True  # type: ignore[misc]
    assert replace(claims, is_super_admin=True) != claims
