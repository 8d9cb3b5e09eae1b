"""Configuration of a gateway: settings, route file and preset. Only this package reads the environment.

Laws:

- A leaf package: it imports nothing of ours but the table of identity headers.
- Every setting has a unit in its name, a bound and a default that is safe in production.
- Every problem of a configuration is reported at once, by the name that the operator typed.
- pydantic loads no plugin unless ``PYDANTIC_DISABLE_PLUGINS``, which is set here, was set before: it would read the
  metadata of every installed distribution to find one, and a plugin sees what is validated, secrets too.
"""

from __future__ import annotations

import os

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
