"""Docker images: the project's own, built here, and those that are pulled or made of packages."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from provision import apt
from provision.origin import build_arguments
from provision.tools import (
    BUILD,
    INSTALL,
    PULL,
    QUERY,
    ROOT,
    SetupError,
    query,
    run,
    step,
    temporary_folder,
)

IMAGE = "temporal-docker-autoscaler:latest"
TEST_IMAGE = "temporal-docker-autoscaler:test"
EXAMPLE_IMAGE = "temporal-docker-autoscaler-example:latest"
TINY_IMAGE = "autoscaler-test/busybox:1"


def images() -> None:
    """Build the project's image and the example's."""
    _build(IMAGE, ROOT, *build_arguments())
    example = ROOT / "compose/quickstart"
    if (example / "Dockerfile").exists():
        _build(EXAMPLE_IMAGE, example)


def test_image() -> None:
    """Build the image that holds the unit tests."""
    _build(TEST_IMAGE, ROOT, "--target=test")


def _build(image: str, context: Path, *options: str) -> None:
    with step(f"building {image}"):
        run(["docker", "build", "--force-rm", "--tag", image, *options, str(context)], BUILD)


def tiny_image() -> None:
    """Provide the small image of the scaling tests: Debian's static busybox."""
    if has(TINY_IMAGE):
        print(f"tiny image: {TINY_IMAGE} is there")
    elif apt.finds("busybox-static"):
        _make_busybox()
    elif pull("busybox:1"):
        run(["docker", "tag", "busybox:1", TINY_IMAGE], QUERY)
    else:
        raise SetupError(
            "Neither apt has a package busybox-static, nor an image registry busybox:1.\n"
            "Make `docker pull busybox:1` work, or run this as root on Debian or Ubuntu."
        )


def _make_busybox() -> None:
    """Make the small image of the package busybox-static."""
    with temporary_folder() as folder, step(f"making {TINY_IMAGE}"):
        package, root = folder / "package", folder / "root"
        run(["apt-get", "download", "busybox-static"], PULL, cwd=folder)
        (archive,) = folder.glob("busybox-static_*.deb")
        run(["dpkg", "--extract", str(archive), str(package)], QUERY)
        (binary,) = (path for path in package.glob("**/bin/busybox") if path.is_file())
        (root / "bin").mkdir(parents=True)
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)
        shutil.copy2(binary, root / "bin/busybox")
        for applet in (query(str(binary), "--list") or "sh").split():
            if applet != "busybox":
                (root / "bin" / applet).symlink_to("busybox")
        import_folder(root, TINY_IMAGE, ["ENV PATH=/bin", 'CMD ["sh"]'], exclude=[])


# The steps that every image needs.


def has(image: str) -> bool:
    """Return whether the engine has an image."""
    return query("docker", "image", "inspect", "--format", "{{.Id}}", image) is not None


def pull(image: str) -> bool:
    """Try once to pull an image; return whether that worked."""
    try:
        with step(f"pulling {image}"):
            run(["docker", "pull", "--quiet", image], PULL)
    except SetupError:
        return False
    return True


def import_folder(root: Path, image: str, changes: Sequence[str], exclude: Sequence[str]) -> None:
    """Make an image of the files in `root`.

    `changes` are lines of a Dockerfile, such as `ENV` and `CMD`. `exclude` are patterns of files,
    relative to `root`, that are left out.
    """
    archive = root.with_suffix(".tar")
    run(
        [
            "tar",
            "--create",
            f"--file={archive}",
            f"--directory={root}",
            "--numeric-owner",
            *(f"--exclude=./{pattern}" for pattern in exclude),
            ".",
        ],
        INSTALL,
    )
    options = [part for change in changes for part in ("--change", change)]
    run(["docker", "import", *options, str(archive), image], INSTALL)
