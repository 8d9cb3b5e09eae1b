"""Hash key: what of a request counts, and that a request without it has none."""

from __future__ import annotations

from uuid import uuid4

import pytest

from authcore.principal import ANONYMOUS, AuthMethod, Principal
from gateway.proxy.decision_context import DecisionContext
from gateway.proxy.hash_key import parse_hash_key
from gateway.wire.messages import RequestHead


def question(*lines: tuple[bytes, bytes], principal: Principal | None = None) -> DecisionContext:
    head = RequestHead(list(lines), method=b"GET", target=b"/")
    head.index()
    asked = DecisionContext(head, b"0" * 32, 0.0)
    asked.principal = principal
    return asked


@pytest.mark.parametrize(
    ("by", "lines", "key"),
    [
        ("header:X-Room", [(b"x-ROOM", b"blue")], b"blue"),
        ("header:X-Room", [(b"X-Room", b"blue"), (b"X-Room", b"red")], b"blue"),
        ("header:X-Room", [(b"X-Room", b"")], None),
        ("header:X-Room", [(b"X-Rooms", b"blue")], None),
        ("header:X-Room", [(b"X-Room", b"a" * 9000)], b"a" * 4096),
        ("cookie:room", [(b"Cookie", b"a=b; room=blue; c=d")], b"blue"),
        ("cookie:room", [(b"Cookie", b"a=b"), (b"Cookie", b" room=blue=x")], b"blue=x"),
        ("cookie:room", [(b"Cookie", b"room=blue; room=red")], b"blue"),
        ("cookie:room", [(b"Cookie", b"Room=blue; xroom=b; room")], None),
        ("cookie:room", [], None),
        ("address", [], None),
        ("user", [], None),
    ],
)
def test_the_part_of_a_request_counts(by: str, lines: list[tuple[bytes, bytes]], key: bytes | None) -> None:
    parsed = parse_hash_key(by)
    assert parsed is not None
    assert str(parsed) == by.replace("X-Room", "x-room")
    assert parsed.of(question(*lines)) == key


def test_callers_of_one_organization_share_its_key_and_nobody_has_none() -> None:
    home = uuid4()
    one, two = (Principal(AuthMethod.JWT, user_id=uuid4(), organization_id=home) for _ in range(2))
    by_user, by_organization = parse_hash_key("user"), parse_hash_key("organization")
    assert by_user is not None
    assert by_organization is not None
    assert by_user.of(question(principal=one)) != by_user.of(question(principal=two))
    assert (
        by_organization.of(question(principal=one))
        == by_organization.of(question(principal=two))
        == home.bytes
    )
    assert by_user.of(question(principal=ANONYMOUS)) is None
    assert parse_hash_key(None) is None
