"""Assembler of the image's root: an interpreter, the libraries it needs, the installed packages, and nothing else.

    python3 assemble.py /opt/gateway /image

copies the virtual environment /opt/gateway, the standard library without what a server never imports, and every
shared library that one of them is linked with, stripped of what only debuggers and linkers read. There is no shell, no
package manager and no pip in the result. Laws:

- Works on any Debian or its like, from where the interpreter says its parts are; nothing is named by version.
- A scanner still finds what is in the image: each Debian package that a file came from is listed in
  /var/lib/dpkg/status.d with its copyright kept, and Python's packages keep their dist-info.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

UNNEEDED: Final = (
    *("test", "tests", "idlelib", "tkinter", "turtledemo", "turtle.py", "ensurepip", "lib2to3", "pydoc_data"),
    # pycparser reads C declarations, for modules of cffi that are not compiled as that of pycares is.
    *("pycparser", "pycparser-*", "sqlite3", "_sqlite3*", "curses", "_curses*"),
    *("dbm", "_dbm*", "_gdbm*", "distutils", "venv", "doctest.py"),
    *(
        "config-*",
        "site-packages",
        "dist-packages",
        "__pycache__",
        "*.a",
        "*.pyi",
        "*.pyx",
        "*.pxd",
        "*.c",
        "*.h",
    ),
    *("_tkinter*", "_test*", "xxlimited*", "pip", "pip-*", "_distutils_hack", "EXTERNALLY-MANAGED"),
)
ALSO: Final = (
    "/etc/ld.so.cache",
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/debian_version",
    "/etc/ssl/certs/ca-certificates.crt",
)
LOADED_BY_NAME: Final = ("libgcc_s.so.1",)
"""Libraries that the loader opens while the program runs, although no file is linked with them."""
FILES: Final = {
    "etc/passwd": "root:x:0:0:root:/:/sbin/nologin\ngateway:x:65532:65532:gateway:/:/sbin/nologin\n",
    "etc/group": "root:x:0:\ngateway:x:65532:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def main() -> None:
    """Assemble the root."""
    environment, root = Path(sys.argv[1]), Path(sys.argv[2])
    for folder in ("bin", "lib", "lib64", "sbin"):  # since Debian 12 links into /usr
        link = Path("/", folder)
        target = root / link.readlink() if link.is_symlink() else root / folder
        target.mkdir(parents=True, exist_ok=True)
        if link.is_symlink():
            (root / folder).symlink_to(link.readlink())
    interpreter = Path(sys.executable).resolve()
    for path in {Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("platstdlib")), environment}:
        keep = ("site-packages", "tests") if path == environment else ()
        _copy_tree(path, root, tuple(name for name in UNNEEDED if name not in keep))
    copied = {_copy(interpreter, root)}
    copied |= {_copy(Path(path), root) for path in ALSO if Path(path).exists()}
    copied |= {_copy(path, root) for path in _libraries(interpreter, environment)}
    _strip(root)
    _point_at(interpreter, root / environment.relative_to("/") / "bin")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "tmp").mkdir(mode=0o1777)
    (root / "tmp").chmod(0o1777)
    _list_packages(copied | {Path(sysconfig.get_path("stdlib"), "os.py")}, root)
    # Checked against nothing: the layers' times say nothing, and the root is read-only.
    if not compileall.compile_dir(
        root,
        quiet=1,
        stripdir=root,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        workers=0,
    ):
        sys.exit("error: something does not compile")


def _copy_tree(path: Path, root: Path, unneeded: tuple[str, ...]) -> None:
    shutil.copytree(
        path,
        root / path.relative_to("/"),
        symlinks=True,
        ignore=shutil.ignore_patterns(*unneeded),
        dirs_exist_ok=True,
    )


def _copy(path: Path, root: Path) -> Path:
    """Copy the file that `path` resolves to, and its link if it is one, below `root`; return the resolved path."""
    real = path.resolve()
    target = root / real.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(real, target)
    named = root / path.parent.resolve().relative_to("/") / path.name
    if not named.exists():
        named.parent.mkdir(parents=True, exist_ok=True)
        named.symlink_to(os.path.relpath(target, named.parent))
    return real


def _libraries(interpreter: Path, environment: Path) -> set[Path]:
    """Return every shared library that the interpreter or an extension module is linked with, and the loader."""
    stdlib = Path(sysconfig.get_path("platstdlib"), "lib-dynload").glob("*.so")
    taken = [module for module in stdlib if not any(fnmatch(module.name, name) for name in UNNEEDED)]
    found = set()
    for module in (interpreter, *taken, *environment.rglob("*.so*")):
        out = subprocess.run(["ldd", str(module)], capture_output=True, text=True, check=False).stdout  # noqa: S603, S607 -- a file of ours, in a build
        if missing := re.findall(r"^\s*(\S+) => not found", out, re.MULTILINE):
            sys.exit(f"error: {module} needs {', '.join(missing)}, which is not there")
        found |= {Path(path) for path in re.findall(r"(?:=> |^\s*)(/\S+) \(0x", out, re.MULTILINE)}
    cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for name in LOADED_BY_NAME:
        found |= {
            Path(path) for path in re.findall(rf"^\s*{re.escape(name)} .*=> (/\S+)$", cache, re.MULTILINE)
        }
    return {path for path in found if not path.is_relative_to(environment)}


def _strip(root: Path) -> None:
    """Take symbols and debugging sections out of libraries and modules; of some wheels they are half of the bytes."""
    modules = [
        str(path)
        for path in root.rglob("*.so*")
        if path.is_file() and not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF"
    ]
    subprocess.run(["strip", "--strip-unneeded", *modules], check=True)  # noqa: S603, S607 -- as above


def _point_at(interpreter: Path, folder: Path) -> None:
    """Point the environment's names of the interpreter at it, and keep only the gateway's own command beside them."""
    for entry in folder.iterdir():
        if not entry.name.startswith(("python", "whatomate-gateway")):
            entry.unlink()
        elif entry.name.startswith("python"):
            entry.unlink()
            if entry.name in {"python", "python3"}:
                entry.symlink_to(interpreter)


def _list_packages(files: set[Path], root: Path) -> None:
    """Write dpkg's records of the packages that `files` came from, as other images without dpkg do."""
    listed = root / "var/lib/dpkg/status.d"
    listed.mkdir(parents=True)
    owners: set[str] = set()
    for path in files:
        # Dpkg may know it by its name before the links.
        for name in {
            path,
            Path(str(path).removeprefix("/usr")),
        }:
            found = subprocess.run(["dpkg", "-S", str(name)], capture_output=True, text=True, check=False)  # noqa: S603, S607 -- as above
            owners |= {line.partition(": ")[0] for line in found.stdout.splitlines() if ": " in line}
    for owner in sorted(owners):
        out = subprocess.run(["dpkg-query", "-s", owner], capture_output=True, text=True, check=True).stdout  # noqa: S603, S607 -- as above
        package = owner.partition(":")[0]
        (listed / package).write_text(out)
        terms = Path("/usr/share/doc", package, "copyright")
        if terms.exists():
            (root / "usr/share/doc" / package).mkdir(parents=True, exist_ok=True)
            shutil.copy2(terms.resolve(), root / "usr/share/doc" / package / "copyright")


if __name__ == "__main__":
    main()
