"""Make everything that a release has. Nothing is published.

Usage: .venv/bin/python scripts/release.py [PART [FOLDER]]

Without PART: all of them in this order, after a look whether all files are committed. The FOLDER is
dist/ where none is given; `packages` empties it.

  packages  wheel and source distribution, built and checked
  arm64     whether everything that the image installs has a wheel for arm64
  bill      the bill of materials (CycloneDX) of what the image installs
  image     the image, labelled with version, commit and time, and saved to a file
  sums      the checksums of all files
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from provision.origin import build_arguments, changes, committed_at, version
from provision.python import CONSTRAINTS, RELEASE_TOOLS, VENV, release_tools
from provision.tools import BUILD, INSTALL, ROOT, SetupError, query, run, step, temporary_folder

DIST = ROOT / "dist"
NAME = "temporal-docker-autoscaler"
TOOLS = RELEASE_TOOLS / "bin"
PYTHON_OF_THE_IMAGE = "3.13"
ARM64 = ("manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64")
"""Kinds of wheels that run on arm64 with the C library of the image."""
USAGE_EXIT = 2


def packages(dist: Path) -> None:
    """Build wheel and source distribution, the same bytes for the same commit, and check them."""
    shutil.rmtree(dist, ignore_errors=True)
    environment = {"PIP_CONSTRAINT": str(CONSTRAINTS)}
    if (at := committed_at()) is not None:
        environment["SOURCE_DATE_EPOCH"] = str(at)
    with step("building wheel and source distribution"):
        build = [str(TOOLS / "python"), "-m", "build", "--no-isolation", "--outdir", str(dist)]
        run([*build, str(ROOT)], BUILD, environment)
    with step("checking them"):
        run([str(TOOLS / "twine"), "check", "--strict", *map(str, sorted(dist.iterdir()))], INSTALL)
        run([str(TOOLS / "check-wheel-contents"), str(_wheel(dist))], INSTALL)


def arm64(dist: Path) -> None:
    """Resolve what the image installs for arm64, from wheels only. Nothing is installed."""
    with temporary_folder() as folder, step("resolving the wheels for arm64"):
        report = folder / "report.json"
        run(
            [
                str(VENV / "bin/python"), "-m", "pip", "install", "--no-input", "--dry-run",
                "--ignore-installed", "--target", str(folder / "none"),
                "--python-version", PYTHON_OF_THE_IMAGE, "--only-binary=:all:",
                *(f"--platform={kind}" for kind in ARM64),
                "--constraint", str(CONSTRAINTS), "--report", str(report), _in_image(dist),
            ],
            INSTALL,
        )  # fmt: skip
        found = json.loads(report.read_text("utf-8"))["install"]
        names = [each["download_info"]["url"].rpartition("/")[2] for each in found]
    own = sum("aarch64" in name for name in names)
    print(f"arm64: {len(names)} wheels, {own} of them for arm64 alone")


def bill(dist: Path) -> None:
    """Write the bill of materials of what the image installs."""
    file = dist / f"{NAME}-{version()}.cdx.json"
    with temporary_folder() as folder, step("writing the bill of materials"):
        installed = folder / "installed"
        run([str(VENV / "bin/python"), "-m", "venv", "--without-pip", str(installed)], INSTALL)
        python = str(installed / "bin/python")
        run(
            [str(VENV / "bin/python"), "-m", "pip", "--python", python, "install", "--no-input",
             "--constraint", str(CONSTRAINTS), _in_image(dist)],
            INSTALL,
        )  # fmt: skip
        run(
            [str(TOOLS / "cyclonedx-py"), "environment", "--output-reproducible",
             "--pyproject", str(ROOT / "pyproject.toml"), "--output-file", str(file), python],
            INSTALL,
        )  # fmt: skip
    components = json.loads(file.read_text("utf-8"))["components"]
    print(f"bill: {len(components)} components")


def image(dist: Path) -> None:
    """Build the image for this machine's kind of processor, and save it to a file."""
    tag = f"{NAME}:{version()}"
    with step(f"building {tag}"):
        run(["docker", "build", "--force-rm", "--tag", tag, *build_arguments(), str(ROOT)], BUILD)
    kind = query("docker", "image", "inspect", "--format={{.Architecture}}", tag)
    saved = dist / f"{NAME}-{version()}-{kind}.tar"
    with step("saving it"):
        run(["docker", "save", "--output", str(saved), tag], BUILD)
        with saved.open("rb") as plain, gzip.open(f"{saved}.gz", "wb", compresslevel=6) as packed:
            shutil.copyfileobj(plain, packed)
        saved.unlink()


def sums(dist: Path) -> None:
    """Write the checksums of all files, as `sha256sum --check` reads them."""
    files = sorted(each for each in dist.iterdir() if each.name != "SHA256SUMS")
    lines = [f"{_sha256(each)}  {each.name}\n" for each in files]
    (dist / "SHA256SUMS").write_text("".join(lines), "utf-8")


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _wheel(dist: Path) -> Path:
    found = sorted(dist.glob("*.whl"))
    if not found:
        raise SetupError("There is no wheel in the folder.\nRun: scripts/release.py packages")
    return found[0]


def _in_image(dist: Path) -> str:
    """Return what the image installs: the wheel with its extra."""
    return f"{_wheel(dist)}[ssh]"


def everything(dist: Path) -> None:
    """Make all parts of a release, and say what publishes it."""
    if found := changes():
        raise SetupError(f"Some files are not committed; commit or remove them:\n{found}")
    if f"\n## {version()}" not in (ROOT / "CHANGELOG.md").read_text("utf-8"):
        raise SetupError(
            f"CHANGELOG.md has no version {version()}.\nPut what is under Unreleased below it."
        )
    for part in PARTS.values():
        part(dist)
    for each in sorted(dist.iterdir()):
        print(f"  {each.stat().st_size / 2**20:6.1f} MiB  {each.name}")
    print(
        "Nothing is published. These do it; set IMAGE to the image's name in your registry:\n"
        f"  {(TOOLS / 'twine').relative_to(ROOT)} upload dist/*.whl dist/*{version()}.tar.gz\n"
        f"  docker tag {NAME}:{version()} $IMAGE:{version()} && docker push $IMAGE:{version()}"
    )


PARTS: Mapping[str, Callable[[Path], None]] = {
    "packages": packages,
    "arm64": arm64,
    "bill": bill,
    "image": image,
    "sums": sums,
}


def main() -> int:
    """Make one part or all; return the exit code."""
    part: Callable[[Path], None]
    match sys.argv[1:]:
        case []:
            part, dist = everything, DIST
        case [name, *folder] if name in PARTS and len(folder) <= 1:
            part = PARTS[name]
            dist = Path(folder[0]).absolute() if folder else DIST
        case _:
            print(__doc__)
            return USAGE_EXIT
    try:
        release_tools()
        part(dist)
    except SetupError as error:
        print(f"\nrelease failed. {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
