"""Single sign-on: sign-ins through a whole gateway, at a provider of the tests' own and at real ones."""

from __future__ import annotations

from tests.support.openid import idp

__all__ = ["idp"]
