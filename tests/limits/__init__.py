"""Rate limits as parts: buckets, limits and holds, with the time passed in."""
