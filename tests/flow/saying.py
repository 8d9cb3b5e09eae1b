"""The former place of tests/support/sockets.py."""

from tests.support.sockets import *  # noqa: F403 -- for tests that are under way
