"""Wheel and source distribution: made as `make release` makes them, looked into, and installed."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "temporal-docker-autoscaler"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
INSTALL = 600
"""Seconds that an installation may take on a machine with much to do."""
PYTHONS = ("3.11", "3.12", "3.13")

pytestmark = pytest.mark.xdist_group("release")


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make(part: str, folder: Path) -> str:
    return run(sys.executable, "scripts/release.py", part, str(folder), folder=ROOT)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the source distribution, which have passed their checks."""
    folder = tmp_path_factory.mktemp("release") / "dist"
    make("packages", folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return dist / f"temporal_docker_autoscaler-{VERSION}-py3-none-any.whl"


def tracked(folder: str) -> set[str]:
    """Return the files of a folder of the project, without what Python makes."""
    return {
        str(file.relative_to(ROOT))
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_version_has_one_source() -> None:
    assert metadata.version(NAME) == VERSION, "run: scripts/setup.py venv"
    others = [file for file in tracked("autoscaler") if f'"{VERSION}"' in (ROOT / file).read_text()]
    assert others == []


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt"}
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == tracked("autoscaler") | {
            f"temporal_docker_autoscaler-{VERSION}.dist-info/{name}" for name in about
        }


def test_the_source_distribution_has_what_builds_the_wheel_and_nothing_else(dist: Path) -> None:
    top = f"temporal_docker_autoscaler-{VERSION}"
    beside = {
        ".gitignore",
        "CHANGELOG.md",
        "PKG-INFO",
        "README.md",
        "constraints.txt",
        "pyproject.toml",
    }
    with tarfile.open(dist / f"{top}.tar.gz") as archive:
        names = {each.name for each in archive.getmembers() if each.isfile()}
    assert names == {f"{top}/{name}" for name in tracked("autoscaler") | beside}


def interpreter(version: str) -> str | None:
    """Return an interpreter of this version of Python; None where there is none here."""
    own = version == f"{sys.version_info.major}.{sys.version_info.minor}"
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for name in (sys.executable,) if own else (f"python{version}", *map(str, installed)):
        code = "import ensurepip, sys; print(sys.executable)"
        try:
            done = subprocess.run([name, "-c", code], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return done.stdout.strip()
    return None


@pytest.mark.parametrize("version", PYTHONS)
def test_the_installed_wheel_runs(tmp_path: Path, wheel: Path, version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    run(python, "-m", "venv", "--without-pip", "fresh", folder=tmp_path)
    pip = (sys.executable, "-m", "pip", "--python", "fresh/bin/python", "install", "--no-input")
    run(*pip, f"--constraint={ROOT / 'constraints.txt'}", str(wheel), folder=tmp_path)

    command = str(tmp_path / "fresh/bin/autoscaler")
    assert run(command, "--version", folder=tmp_path).strip() == VERSION
    assert run(command, "labels", "--markdown", folder=tmp_path).startswith("# Labels")
    simulated = json.loads(run(command, "simulate", "burst", "--json", folder=tmp_path))
    assert simulated["runs"][0]["figures"]["tasks_done"] == 2000


INSTALLED = """
from importlib.metadata import distributions
for each in distributions():
    print(each.name, each.version)
"""


@pytest.mark.engine
@pytest.mark.usefixtures("wheel")
def test_the_bill_names_what_the_image_installs_and_nothing_else(dist: Path) -> None:
    make("bill", dist)
    bill = json.loads((dist / f"{NAME}-{VERSION}.cdx.json").read_text("utf-8"))
    listed = {each["name"]: each["version"] for each in bill["components"]}
    ask = ("docker", "run", "--rm", "--entrypoint=/opt/venv/bin/python", f"{NAME}:latest")
    lines = run(*ask, "-Ic", INSTALLED, folder=ROOT).splitlines()

    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", NAME)
    assert dict(line.split() for line in lines) == {NAME: VERSION, **listed}


@pytest.mark.usefixtures("wheel")
def test_everything_that_the_image_installs_has_a_wheel_for_arm64(dist: Path) -> None:
    assert "of them for arm64 alone" in make("arm64", dist)
