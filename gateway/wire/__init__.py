"""HTTP/1.1 on llhttp and asyncio protocols: bytes to messages and back. Knows nothing of authentication.

Laws of this package (RFC 9112 unless said otherwise):

- A message is rebuilt from what was parsed, never passed on as raw bytes; what is ambiguous is refused, not repaired.
- Nothing here imports the rest of the gateway. What the gateway decides reaches it as a coroutine per request
  (:mod:`~gateway.wire.drive`) and as the bytes of a head.
- Memory per exchange does not grow with the body: whoever reads is paused while whoever writes is full.
"""
