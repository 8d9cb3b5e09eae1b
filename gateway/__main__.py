"""Entry point of ``python -m gateway``, which runs the command ``whatomate-gateway``."""

from gateway.entry import main

if __name__ == "__main__":
    main(prog_name="python -m gateway")
