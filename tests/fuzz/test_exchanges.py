"""State machines over the wire: valid exchanges, split, pipelined, corrupted; nothing escapes and nothing is left."""

from __future__ import annotations

from itertools import pairwise

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.fuzz.messages import requests, responses
from tests.fuzz.stage import Stage


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


class Client:
    """Reads answers back, as a client does."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self._body = bytearray()

    def on_message_begin(self) -> None:
        self._body = bytearray()

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def on_message_complete(self) -> None:
        self.answers.append((self.parser.get_status_code(), bytes(self._body)))

    def read(self, written: bytes, methods: list[bytes]) -> list[tuple[int, bytes]]:
        for method in methods:
            self.parser = httptools.HttpResponseParser(self)
            before = len(self.answers)
            while len(self.answers) == before or self.answers[-1][0] < 200:
                end = written.index(b"\r\n\r\n") + 4
                if method == b"HEAD" and int(written.split(b" ")[1]) >= 200:
                    self.answers.append((int(written.split(b" ")[1]), b""))
                    written = written[end:]
                    continue
                at = len(self.answers)
                for size in range(end, len(written) + 1):
                    if size > end:
                        self.parser.feed_data(written[size - 1 : size])
                    else:
                        self.parser.feed_data(written[:end])
                    if len(self.answers) > at:
                        written = written[size:]
                        break
                else:
                    raise AssertionError("an answer without an end")
        assert written == b"", "more than the answers"
        return [answer for answer in self.answers if answer[0] >= 200]


class Conversation(RuleBasedStateMachine):
    """Requests pile up and answers come, interleaved: the client reads what the upstream said, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(busy=True)
        self.waiting: list[bytes] = []
        self.methods: list[bytes] = []
        self.expected: list[tuple[int, bytes]] = []

    def _deliver(self) -> None:
        while self.waiting and self.stage.down.reading and not self.stage.down.closing:
            self.stage.client_sends(self.waiting.pop(0))

    @rule(request=requests(), cuts=st.lists(st.integers(0, 10_000), max_size=4))
    def the_client_sends(self, request: tuple[bytes, bytes, bytes], cuts: list[int]) -> None:
        method, _, raw = request
        self.methods.append(method)
        self.waiting += pieces_of(raw, cuts)
        self._deliver()

    @rule(several=st.lists(requests(), min_size=2, max_size=5))
    def the_client_pipelines(self, several: list[tuple[bytes, bytes, bytes]]) -> None:
        self.methods += [method for method, _, _ in several]
        self.waiting.append(b"".join(raw for _, _, raw in several))
        self._deliver()

    @precondition(lambda self: len(self.expected) < len(self.methods))
    @rule(response=responses(), cuts=st.lists(st.integers(0, 10_000), max_size=4))
    def the_upstream_answers(self, response: tuple[int, bytes, bytes, bytes], cuts: list[int]) -> None:
        status, body, head, framed = response
        method = self.methods[len(self.expected)]
        if method == b"HEAD":
            body, framed = b"", b""
        for piece in pieces_of(head + framed, cuts):
            self.stage.upstream_sends(piece)
            self._deliver()
        self.expected.append((status, body))
        self._deliver()

    @rule()
    def the_loop_turns(self) -> None:
        self.stage.turn()

    @invariant()
    def nothing_escapes(self) -> None:
        assert self.stage.escaped == []
        assert self.stage.served == len(self.expected)

    def teardown(self) -> None:
        self.stage.turn()
        answered = self.methods[: len(self.expected)]
        assert Client().read(bytes(self.stage.down.written), answered) == self.expected
        self.stage.end()


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


@settings(max_examples=400, deadline=None)
@given(
    several=st.lists(requests(), min_size=1, max_size=4),
    answers=st.lists(responses(), min_size=1, max_size=4),
    places=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=5),
    side=st.sampled_from(["request", "response", "both"]),
    cuts=st.lists(st.integers(0, 10_000), max_size=6),
    busy=st.booleans(),
)
def test_a_corrupted_exchange_ends_and_leaves_nothing(
    several: list[tuple[bytes, bytes, bytes]],
    answers: list[tuple[int, bytes, bytes, bytes]],
    places: list[tuple[int, int]],
    side: str,
    cuts: list[int],
    busy: bool,
) -> None:
    def corrupted(data: bytes) -> bytes:
        changed = bytearray(data)
        for place, byte in places:
            changed[place % len(changed)] = byte
        return bytes(changed)

    asked = b"".join(raw for _, _, raw in several)
    said = b"".join(head + framed for _, _, head, framed in answers)
    stage = Stage(busy=busy)
    for piece in pieces_of(corrupted(asked) if side != "response" else asked, cuts):
        stage.client_sends(piece)
    for piece in pieces_of(corrupted(said) if side != "request" else said, cuts):
        stage.upstream_sends(piece)
    stage.upstream_closes()
    stage.settle()
    stage.end()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_noise_from_both_sides_ends_and_leaves_nothing(asked: bytes, said: bytes, cuts: list[int]) -> None:
    stage = Stage()
    for piece in pieces_of(asked, cuts):
        stage.client_sends(piece)
    for piece in pieces_of(said, cuts):
        stage.upstream_sends(piece)
    stage.end()
