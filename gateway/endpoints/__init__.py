"""Hosted application (aiohttp) behind ``/api/auth``, which the pipeline reaches in-process, as an upstream.

Laws:

- Every request here has passed the pipeline: limits enforced, identity proven, headers injected. An endpoint learns the
  caller from the injected headers, as any other upstream does; nothing else can reach the socket.
- Success is ``{"status": "success", "data": …}``; a fault is the common table's (``gateway/faults.py``).
"""
