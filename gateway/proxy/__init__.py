"""Request pipeline. Read :mod:`~gateway.proxy.pipeline` first: every other module here is one of its phases."""
