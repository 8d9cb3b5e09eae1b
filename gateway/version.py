"""Running version: that of the installed package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def running_version() -> str:
    """Return the installed version; ``unknown`` if the package is not installed."""
    try:
        return version("whatomate-gateway")
    except PackageNotFoundError:
        return "unknown"
