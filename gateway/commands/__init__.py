"""Commands of the command line, one module per subject; ``gateway/cli.py`` gathers them."""
