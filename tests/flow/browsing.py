"""The former place of tests/support/browsing.py."""

from tests.support.browsing import *  # noqa: F403 -- for tests that are under way
