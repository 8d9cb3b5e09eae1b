"""Configuration of a gateway: settings, route file and preset. Only this package reads the environment.

Laws: a leaf package (it imports nothing of ours but the table of identity headers); every setting has a unit in its
name, a bound and a default that is safe in production; every problem of a configuration is reported at once, by the
name that the operator typed.
"""
