"""Traffic policies: balancing, health, retries and breakers. They do no I/O and have no clock, but for the prober."""
