"""The gateway: everything that speaks HTTP. Start reading at ``app.py``, then ``proxy/pipeline.py``."""
