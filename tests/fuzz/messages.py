"""Hypothesis strategies of valid requests and responses, as bytes."""

from __future__ import annotations

from hypothesis import strategies as st

TOKENS = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)


VALUES = st.text("abc XYZ0189;=,/", max_size=20).map(str.strip)


BODIES = st.binary(max_size=200)


PLAIN_NAMES = TOKENS.filter(
    lambda name: (
        name not in {"host", "connection", "content-length", "transfer-encoding", "expect", "upgrade", "te"}
    )
)


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return (
        b"".join(b"%x;e=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nx-trailer: 1\r\n\r\n"
    )


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """A valid request: its method, its body, its bytes."""
    method = draw(st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"]))
    body = draw(BODIES) if method in (b"POST", b"PUT") else b""
    lines = [f"{name}: {value}" for name, value in draw(st.lists(st.tuples(PLAIN_NAMES, VALUES), max_size=5))]
    head = b"%b /%b HTTP/1.1\r\nHost: e\r\n" % (method, draw(TOKENS).encode())
    head += "".join(f"{line}\r\n" for line in lines).encode()
    if body and draw(st.booleans()):
        framed = b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, draw(st.integers(1, 50)))
    elif body:
        framed = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    else:
        framed = b"\r\n"
    return method, body, head + framed


@st.composite
def responses(draw: st.DrawFn) -> tuple[int, bytes, bytes, bytes]:
    """A valid response: its status, its body, what goes before the body, and the body framed."""
    status = draw(st.sampled_from([200, 201, 204, 301, 304, 404, 500]))
    body = b"" if status in (204, 304) else draw(BODIES)
    interim = draw(
        st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"])
    )
    head = interim + b"HTTP/1.1 %d Some Words\r\nServer: x\r\n" % status
    if status in (204, 304):
        return status, b"", head + b"\r\n", b""
    if draw(st.booleans()):
        size = draw(st.integers(1, 50))
        return status, body, head + b"Transfer-Encoding: chunked\r\n\r\n", chunked(body, size)
    return status, body, head + b"Content-Length: %d\r\n\r\n" % len(body), body
