"""The path of one request. Read :mod:`~gateway.proxy.pipeline` first: everything else here is one of its phases."""
