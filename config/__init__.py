"""The configuration of a gateway: the only place that reads the environment.

Laws: a leaf package (imports nothing of ours); every setting has a unit in its name, a bound and a default that is
safe in production; every problem of a configuration is reported at once, by the name the operator typed.
"""
