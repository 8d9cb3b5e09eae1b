"""Traffic policies, by themselves and over the pool that they choose for."""
