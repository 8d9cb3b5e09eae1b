"""Options of Redis URLs: what may follow the ``?``, for Whatomate's Redis and for the store of limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPTIONS: Final = ("db", "ssl_ca_certs", "ssl_cert_reqs", "ssl_check_hostname")
"""Deadlines and the number of connections are not the URL's."""
_CHECKS: Final = ("none", "optional", "required")
_TRUTHS: Final = frozenset({"0", "1", "f", "t", "false", "true", "n", "y", "no", "yes"})


def judge_redis_options(options: Mapping[str, str], scheme: str) -> None:
    """Judge the options of a URL, without repeating them.

    Raises:
        ValueError: one of them has no meaning, or has none with the scheme.
    """
    several = scheme.endswith("+sentinel")
    if not options.keys() <= set(_OPTIONS) or (several and options):
        end = ", and nothing with sentinels" if several else ""
        raise ValueError(f"after ? should stand only {', '.join(_OPTIONS)}{end}")
    if not options.get("db", "0").isdigit():
        raise ValueError("the database should be a number")
    if not scheme.startswith("rediss") and options.keys() - {"db"}:
        raise ValueError("ssl_ca_certs, ssl_cert_reqs and ssl_check_hostname belong to rediss://")
    if options.get("ssl_cert_reqs", _CHECKS[-1]) not in _CHECKS:
        raise ValueError(f"ssl_cert_reqs should be one of {', '.join(_CHECKS)}")
    if options.get("ssl_check_hostname", "true").lower() not in _TRUTHS:
        raise ValueError("ssl_check_hostname should be true or false")
