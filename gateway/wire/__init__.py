"""HTTP/1.1 codec and connections on llhttp and asyncio protocols. It knows nothing of authentication.

Laws of this package (RFC 9112 unless stated otherwise):

- A message is rebuilt from what was parsed and never passed on as raw bytes. An ambiguous message is refused, not
  repaired.
- Nothing here imports the rest of the gateway. The gateway's decisions reach it as a coroutine per request
  (:mod:`~gateway.wire.drive`) and as the bytes of a head.
- Memory per exchange does not grow with the body: a reader is paused while its writer is full.
"""
