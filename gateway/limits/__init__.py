"""Rate and concurrency limits: how much callers may ask of routes, counted in memory."""
