"""The former place of tests/support/certificates.py."""

from tests.support.certificates import *  # noqa: F403 -- for tests that are under way
