"""A first message as every reader of JSON sees it: one token, another message, or nothing that may pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.first_message import Unreadable
from gateway.wire.websocket_auth import read_auth

TOKEN = "aaa.bbb.ccc"


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"auth","payload":{"token":"aaa.bbb.ccc"}}',
        ' {\n"payload" : { "token" : "aaa.bbb.ccc" } ,\t"type" : "auth" }\r\n',
        '{"t\\u0079pe":"\\u0061uth","payload":{"to\\u006ben":"aaa.bbb.\\u0063cc"}}',
        '{"type":"auth","id":1e999,"v":[{"type":"x"}],"payload":{"token":"aaa.bbb.ccc","device":"phone"}}',
        '{"a":' + "[" * 99 + "]" * 99 + ',"type":"auth","payload":{"token":"aaa.bbb.ccc"}}',
        '{"a":"' + "[" * 8000 + '","type":"auth","payload":{"token":"aaa.bbb.ccc"}}',
        '{"type":"auth","n":' + "1" * 6000 + ',"payload":{"token":"aaa.bbb.ccc"}}',
    ],
)
def test_an_auth_message_is_read_however_it_is_written(text: str) -> None:
    assert read_auth(text.encode()) == TOKEN.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "auth",
        "null",
        "7",
        "-Infinit",
        '"auth"',
        '["auth"]',
        '[{"type":"auth","payload":{"token":"x"}}]',
        "{}",
        '{"payload":{"token":"x"}}',
        '{"type":"ping"}',
        '{"type":7,"payload":{"token":"x"}}',
        '{"type":"set_contact","payload":{"contact_id":"1"}}',
        '{"payload":{"type":"auth","token":"x"}}',
        '{"type":"auth","payload":{"token":"x"}',
        "{'type':'auth'}",
        '{"type":"ping"} {"type":"auth","payload":{"token":"x"}}',
    ],
)
def test_a_message_of_another_type_is_no_authentication(text: str) -> None:
    assert read_auth(text.encode()) is None


AMBIGUOUS = {
    "two types": '{"type":"ping","type":"auth","payload":{"token":"x"}}',
    "two types, the other way": '{"type":"auth","type":"ping","payload":{"token":"x"}}',
    "the same type twice": '{"type":"auth","type":"auth","payload":{"token":"x"}}',
    "two payloads": '{"type":"auth","payload":{"token":"x"},"payload":{"token":"y"}}',
    "two tokens": '{"type":"auth","payload":{"token":"x","token":"y"}}',
    "a type in another case": '{"Type":"auth","payload":{"token":"x"}}',
    "two types in two cases": '{"type":"auth","TYPE":"ping","payload":{"token":"x"}}',
    "a payload in another case beside": '{"type":"auth","payload":{"token":"x"},"Payload":{"token":"y"}}',
    "a token in another case beside": '{"type":"auth","payload":{"token":"x","TOKEN":"y"}}',
    "a token with the sign for kelvin": '{"type":"auth","payload":{"token":"x","to\u212aen":"y"}}',
    "the same, escaped": '{"type":"auth","payload":{"token":"x","to\\u212aen":"y"}}',
    "a key that is escaped beside": '{"type":"auth","payload":{"token":"x","\\u0074oken":"y"}}',
    "a type that some would trim": '{"type":" auth","payload":{"token":"x"}}',
    "a type that some would fold": '{"type":"AUTH","payload":{"token":"x"}}',
    "something behind it": '{"type":"auth","payload":{"token":"x"}}{"type":"auth","payload":{"token":"y"}}',
    "a letter behind it": '{"type":"auth","payload":{"token":"x"}}x',
    "a zero byte behind it": '{"type":"auth","payload":{"token":"x"}}\0',
    "a byte order mark": '\ufeff{"type":"auth","payload":{"token":"x"}}',
    "a byte order mark behind a space": ' \ufeff{"type":"auth","payload":{"token":"x"}}',
    "not a number": '{"type":"auth","n":NaN,"payload":{"token":"x"}}',
    "more brackets than some read": '{"a":'
    + "[" * 500
    + "]" * 500
    + ',"type":"auth","payload":{"token":"x"}}',
    "no end of brackets": '{"a":' + "[" * 8000 + "]" * 8000 + ',"type":"auth","payload":{"token":"x"}}',
    "no token": '{"type":"auth","payload":{}}',
    "no payload": '{"type":"auth"}',
    "a token in its payload's place": '{"type":"auth","payload":"x"}',
    "a list of payloads": '{"type":"auth","payload":[{"token":"x"}]}',
    "a list in the token's place": '{"type":"auth","payload":{"token":["x"]}}',
    "pairs in the payload's place": '{"type":"auth","payload":[["token","x"]]}',
    "a token that is null": '{"type":"auth","payload":{"token":null}}',
    "an empty token": '{"type":"auth","payload":{"token":""}}',
    "a space in the token": '{"type":"auth","payload":{"token":"x "}}',
    "half a character in the token": '{"type":"auth","payload":{"token":"x\\ud800"}}',
    "a zero byte in the token": '{"type":"auth","payload":{"token":"x\\u0000"}}',
    "another alphabet in the token": '{"type":"auth","payload":{"token":"\u0445"}}',
}


@pytest.mark.parametrize("text", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_readers_take_differently_is_refused(text: str) -> None:
    with pytest.raises(Unreadable) as refusal:
        read_auth(text.encode())
    assert (refusal.value.code, str(refusal.value)) == (1008, "authentication failed")


@pytest.mark.parametrize(
    "place", [b'{"type":"auth","payload":{"token":"x%b"}}', b'{"%b":1,"type":"auth"}', b"%b"]
)
def test_what_is_no_text_is_refused(place: bytes) -> None:
    for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80"):
        with pytest.raises(Unreadable) as refusal:
            read_auth(place % bad)
        assert refusal.value.code == 1007


def first_key_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def folding(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key.casefold(): value for key, value in pairs}


Reader = Callable[[list[tuple[str, Any]]], Any]
READERS: list[Reader] = [dict, first_key_wins, folding, lambda pairs: folding(list(reversed(pairs)))]

KEYS = st.sampled_from(["type", "Type", "TYPE", "payload", "Payload", "token", "Token", "to\u212aen", "x"])
LEAVES = st.sampled_from(["auth", "Auth", "ping", "a.b.c", "d.e.f", "", None, 7, True])


def written(pairs: list[tuple[str, Any]]) -> str:
    return "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in pairs) + "}"


OBJECTS = st.lists(st.tuples(KEYS, LEAVES.map(json.dumps)), max_size=3).map(written)
MESSAGES = st.lists(st.tuples(KEYS, LEAVES.map(json.dumps) | OBJECTS), max_size=4).map(written)


@given(MESSAGES)
def test_a_token_that_is_returned_is_the_one_that_each_reader_finds(text: str) -> None:
    try:
        token = read_auth(text.encode())
    except Unreadable:
        return
    for reader in READERS:
        found = json.loads(text, object_pairs_hook=reader)
        is_auth = found.get("type") == "auth"
        if token is None:
            assert not is_auth
        else:
            assert is_auth
            assert found["payload"]["token"].encode() == token


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_no_input_makes_the_reader_of_auth_messages_raise_anything_but_a_refusal(message: bytes) -> None:
    with suppress(Unreadable):
        assert read_auth(message) is None
