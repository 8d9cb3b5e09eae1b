"""Development environment of the ``dev`` command: a PostgreSQL, an upstream, and demo accounts to sign in with."""
