"""The aiohttp application behind the hosted paths: the pipeline's first upstream, reached in-process.

Laws:

- Every request here has passed the pipeline: limits held, identity proven, headers injected. An endpoint reads who is
  asking from the injected headers, as any other upstream does; nothing else can reach the socket.
- Success is ``{"status": "success", "data": …}``; a fault is the common table's (``gateway/faults.py``).
"""
