"""What a developer's machine needs beside the gateway: a PostgreSQL, an upstream, something to sign in with."""
