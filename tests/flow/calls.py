"""The former place of tests/support/calls.py."""

from tests.support.calls import *  # noqa: F403 -- for tests that are under way
