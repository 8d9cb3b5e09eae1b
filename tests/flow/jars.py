"""The former place of tests/support/jars.py."""

from tests.support.jars import *  # noqa: F403 -- for tests that are under way
