"""Traffic policies: what an upstream is owed. They are pure: no I/O and no clock, for `now` is passed in."""
