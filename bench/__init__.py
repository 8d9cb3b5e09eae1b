"""The side-by-side benchmark. ``python -m bench`` (or ``make bench``); method and findings in ``bench/README.md``."""
