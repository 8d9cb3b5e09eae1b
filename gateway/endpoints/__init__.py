"""Hosted application (aiohttp) behind ``/api/auth``, which the pipeline reaches in-process, as an upstream.

Laws:

- Every request here has passed the pipeline: limits enforced, identity proven, headers injected. The caller is parsed
  from the injected headers (``caller.py``), as any other upstream would do it; nothing else can reach the socket.
- Each endpoint is declared once, beside its handler (``endpoint.py``), and listed in ``hosted.py``.
- Success is ``{"status": "success", "data": …}``; a fault is the common table's (``gateway/faults.py``).
"""
