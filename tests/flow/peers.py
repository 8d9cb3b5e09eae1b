"""The former place of tests/support/peers.py."""

from tests.support.peers import *  # noqa: F403 -- for tests that are under way
