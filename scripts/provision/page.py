"""What only the tests of the status page and of the metrics need: a browser and Prometheus."""

from __future__ import annotations

import shutil
import zipfile

from provision import apt
from provision.python import downloaded
from provision.tools import (
    CACHE,
    INSTALL,
    PULL,
    ROOT,
    SetupError,
    query,
    run,
    step,
    temporary_folder,
)

BROWSER_PACKAGES = ("chromium", "chromium-driver", "fonts-inter", "fonts-dejavu-core")
AXE = CACHE / "axe/axe.min.js"
PROMETHEUS = CACHE / "prometheus"


def browser() -> None:
    """Provide Chromium, its driver, fonts, and the accessibility rules of axe."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        if not apt.can_install():
            raise SetupError(
                "The tests of the status page need Chromium and its driver.\n"
                f"On Debian: sudo apt-get install {' '.join(BROWSER_PACKAGES)}"
            )
        apt.install(*BROWSER_PACKAGES)
    if not AXE.exists():
        with step("getting the rules of axe from PyPI"):
            _extract_axe()
    print(f"browser: {query('chromium', '--version') or 'chromium'} is there")


def _extract_axe() -> None:
    """Download a package that bundles axe-core, and extract that one file."""
    with downloaded("axe-playwright-python") as archive, zipfile.ZipFile(archive) as package:
        AXE.parent.mkdir(parents=True, exist_ok=True)
        AXE.write_bytes(package.read("axe_playwright_python/axe.min.js"))


def prometheus() -> None:
    """Provide Prometheus and promtool in .cache, from Debian's package.

    The package is unpacked and not installed: it would start a service on this machine.
    """
    if not (PROMETHEUS / "promtool").exists():
        if not apt.finds("prometheus"):
            raise SetupError(
                "The tests of the metrics need Prometheus, and apt has no package of it.\n"
                f"Put `prometheus` and `promtool` into {PROMETHEUS.relative_to(ROOT)}."
            )
        with temporary_folder() as folder, step("getting Prometheus from the system's packages"):
            run(["apt-get", "download", "prometheus"], INSTALL, cwd=folder)
            (archive,) = folder.glob("prometheus_*.deb")
            run(["dpkg", "--extract", str(archive), str(folder / "package")], PULL)
            PROMETHEUS.mkdir(exist_ok=True)
            for name in ("prometheus", "promtool"):
                shutil.move(folder / "package/usr/bin" / name, PROMETHEUS / name)
    version = query(str(PROMETHEUS / "promtool"), "--version") or "promtool"
    print(f"prometheus: {version.splitlines()[0]} is there")
