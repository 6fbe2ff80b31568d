"""Python packages: the project's .venv, and single packages from PyPI."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provision import apt
from provision.tools import CACHE, INSTALL, ROOT, SetupError, query, run, step, temporary_folder

VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "constraints.txt"
BENCH_PACKAGES = CACHE / "bench"
RELEASE_TOOLS = CACHE / "release"


def venv() -> None:
    """Provide .venv with the project and the packages that its development needs."""
    pinned = (ROOT / "pyproject.toml").read_bytes() + CONSTRAINTS.read_bytes()
    expected = hashlib.sha256(pinned + sys.version.encode()).hexdigest()
    stamp = VENV / "setup-stamp"
    if stamp.exists() and stamp.read_text() == expected:
        print("venv: .venv is up to date")
        return
    if importlib.util.find_spec("ensurepip") is None:
        if not apt.can_install():
            raise SetupError(
                "This Python has no ensurepip.\nRun: sudo apt-get install python3-venv"
            )
        apt.install("python3-venv")
    python = str(VENV / "bin/python")
    install = [python, "-m", "pip", "install", "--no-input", "--constraint", str(CONSTRAINTS)]
    with step("installing Python packages into .venv"):
        if query(python, "-m", "pip", "--version") is None:
            run([sys.executable, "-m", "venv", "--clear", str(VENV)], INSTALL)
        run([*install, "--upgrade", "pip"], INSTALL)
        run(
            [*install, "--build-constraint", str(CONSTRAINTS), "--group", "dev", "--editable", "."],
            INSTALL,
        )
    stamp.write_text(expected)


def bench() -> None:
    """Provide grpcio in .cache/bench, for the Temporal stand-in of the benchmarks.

    It is not installed in .venv: Temporal's client imports grpcio wherever it finds it, so the
    daemon would need more memory and start more slowly than in its image.
    """
    if not (BENCH_PACKAGES / "grpc").is_dir():
        with step("installing grpcio into .cache/bench"):
            run(
                [str(VENV / "bin/python"), "-m", "pip", "install", "--no-input", "--constraint",
                 str(CONSTRAINTS), "--target", str(BENCH_PACKAGES), "grpcio"],
                INSTALL,
            )  # fmt: skip
    print("bench: grpcio is there")


def release_tools() -> None:
    """Provide what builds and checks a release, in .cache/release: no test needs it in .venv."""
    if not (RELEASE_TOOLS / "bin/cyclonedx-py").exists():
        python = str(VENV / "bin/python")
        with step("installing the tools of a release into .cache/release"):
            run([python, "-m", "venv", "--clear", "--without-pip", str(RELEASE_TOOLS)], INSTALL)
            run(
                [python, "-m", "pip", "--python", str(RELEASE_TOOLS / "bin/python"), "install",
                 "--no-input", "--constraint", str(CONSTRAINTS), "--group", "release"],
                INSTALL,
            )  # fmt: skip
    print("release tools: they are there")


@contextmanager
def downloaded(package: str) -> Iterator[Path]:
    """Download a package from PyPI in the version of constraints.txt; yield the archive."""
    python = str(VENV / "bin/python")
    with temporary_folder() as folder:
        command = [python, "-m", "pip", "download", "--no-input", "--no-deps"]
        command += ["--dest", str(folder), "--constraint", str(CONSTRAINTS), package]
        run(command, INSTALL)
        (archive,) = folder.iterdir()
        yield archive
