"""Traffic policies: what an upstream is owed. Those that decide do no I/O and have no clock; the prober alone sends."""
