"""HTTP gateway: all code that speaks HTTP. Start reading at ``app.py``, then ``proxy/pipeline.py``."""
