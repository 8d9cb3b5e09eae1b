"""Servers of others that answer an upload before they have read it, and close: their answer reaches the client."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from tests.support.fasthttp import fasthttp_server, running
from tests.support.peers import Client
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.worlds import Start

TRIES = 15
UPLOAD = bytes(8 << 20)
FASTHTTP = """
package main

import (
	"fmt"
	"net"

	"github.com/valyala/fasthttp"
)

func main() {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := &fasthttp.Server{
		MaxRequestBodySize: 65536,
		Handler:            func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("ok") },
		ErrorHandler: func(ctx *fasthttp.RequestCtx, err error) {
			ctx.Error("too large", fasthttp.StatusRequestEntityTooLarge)
		},
	}
	server.Serve(listener)
}
"""
NODE = """
const server = require("http").createServer((request, response) => {
  if (Number(request.headers["content-length"] || 0) > 65536 || request.headers["transfer-encoding"]) {
    response.writeHead(413, {"Content-Length": 9, "Connection": "close"});
    response.end("too large", () => request.socket.destroy());
  } else {
    response.end("ok");
  }
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


@contextmanager
def node(source: str, work: Path) -> Iterator[int]:
    (work / "server.js").write_text(source)
    with running([program("node"), str(work / "server.js")]) as port:
        yield port


@pytest.fixture(params=["fasthttp", "node"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    source = {"fasthttp": FASTHTTP, "node": NODE}[request.param]
    run: Callable[[str, Path], AbstractContextManager[int]] = (
        fasthttp_server if request.param == "fasthttp" else node
    )
    with run(source, tmp_path) as port:
        yield port


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_answer_before_the_body_is_read_reaches_the_client(
    start: Start, server: int, chunked: bool
) -> None:
    gateway = await start(public=("/*",), upstream={"url": f"http://127.0.0.1:{server}"})
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(UPLOAD)
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(UPLOAD), UPLOAD) if chunked else UPLOAD
    answers = []
    for _ in range(TRIES):
        async with Client(gateway.address) as client:
            # A client that writes before it reads, and then looks for the answer.
            with suppress(ConnectionError):
                await client.send(b"POST /upload HTTP/1.1\r\nHost: e\r\n%b\r\n\r\n%b" % (framing, body))
            answer = await client.response()
            answers.append((answer.status, answer.body))
    assert answers == [(413, b"too large")] * TRIES
    async with Client(gateway.address) as client:
        small = b"POST /upload HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n\r\nhi"
        assert (await client.exchange(small)).body == b"ok"
