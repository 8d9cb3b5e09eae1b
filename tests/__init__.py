"""The tests. Failed assertions of tests/support are explained like those of a test."""

import pytest

pytest.register_assert_rewrite("tests.support")
