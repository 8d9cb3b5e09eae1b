"""The former place of tests/support/programs.py."""

from tests.support.programs import *  # noqa: F403 -- for tests that are under way
