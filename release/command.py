"""Command ``whatomate-gateway`` of a checkout: `make install` puts it into .venv/bin, in the place of pip's.

It runs the compiled warm path if there is one of these very sources (release/checkout.py), and the sources themselves
if not. COMPILED=0 in the environment runs the sources. Workers, which are started from here, inherit the choice.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path


def choose() -> None:
    """Put the compiled tree first on the path, if it is of these very sources."""
    spec = find_spec("gateway")
    if spec is None or spec.origin is None or os.environ.get("COMPILED") == "0":
        return
    root = Path(spec.origin).parents[1]
    if not (root / "release" / "checkout.py").exists():
        return
    sys.path.insert(0, str(root / "release"))
    from checkout import compiled_tree, is_fresh  # noqa: PLC0415 -- found by the line above

    sys.path.pop(0)
    tree = compiled_tree(root, Path(sys.prefix))
    if is_fresh(root, tree):
        sys.path.insert(0, str(tree))
        inherited = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(tree), inherited] if inherited else [str(tree)])
    elif tree.exists() and sys.argv[1:2] == ["serve"]:
        sys.stderr.write(
            "the sources have changed since they were compiled: running interpreted (make install)\n"
        )


if __name__ == "__main__":
    choose()
    from gateway.entry import main

    sys.exit(main())
