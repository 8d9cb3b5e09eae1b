"""Side-by-side benchmark: ``python -m bench`` (or ``make bench``). ``bench/README.md`` has method and findings."""
