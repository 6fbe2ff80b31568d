"""A Compose file with every option that a new replica must have as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.interop.projects import BUSY, Project
from tests.real.stages import TINY_IMAGE

VARIABLES = {"TDA_TOKEN": "from the environment", "TDA_GREETING": "good evening"}
LABELS = {"temporal.queue": "orders", "temporal.max": "20"}

SCALED = (
    "web",
    "ports",
    "named-host",
    "host-network",
    "no-network",
    "bridge",
    "beside",
    "bare",
    "terminal",
    "extra",
)
"""The services that are scaled."""


def prepare(project: Project) -> None:
    """Write the files that the Compose file refers to, then the Compose file."""
    (project.folder / "bound").mkdir()
    # In the containers of a rootless engine, root is another user.
    (project.folder / "bound").chmod(0o777)
    (project.folder / "bound/shared").write_text("of the folder")
    (project.folder / "token").write_text("of the file")
    (project.folder / "app.env").write_text("FROM_FILE=yes\n")
    made = content(project.folder)
    # What an engine refuses, Compose cannot make there either.
    if project.engine.is_podman:
        del made["services"]["web"]["links"]
        made["services"]["ports"]["ports"] = ["9000"]
    elif project.engine.is_rootless:
        del made["services"]["named-host"]["domainname"]
        del made["services"]["web"]["devices"]
        # Without cgroups, the engine cannot end what shares its processes: `docker rm` hangs.
        del made["services"]["beside"]["pid"]
    project.write(made)


def content(folder: Path) -> dict[str, Any]:
    """Return the Compose file of a project in this folder."""
    return {
        "services": {
            "base": _service(),
            "web": _web(folder),
            "ports": _service(
                ports=["127.0.0.1:23100-23109:80", "9000"], expose=["7000"], networks=["front"]
            ),
            "named-host": _service(
                hostname="fixed", domainname="example.test", networks=["front"], read_only=True
            ),
            "host-network": _service(network_mode="host", uts="host", ipc="shareable"),
            "no-network": _service(network_mode="none"),
            "bridge": _service(network_mode="bridge"),
            "beside": _service(network_mode="service:base", pid="service:base", ipc="host"),
            "bare": _service(entrypoint=[], restart="on-failure:3"),
            "terminal": _service(tty=True, stdin_open=True, user="65534", restart="always"),
            "extra": _service(profiles=["extra"], networks={"front": {"aliases": ["more"]}}),
        },
        "networks": {"front": {}, "back": {"internal": True}, "default": {}},
        "volumes": {"named": {}},
        "secrets": {
            "token": {"environment": "TDA_TOKEN"},
            "file-token": {"file": str(folder / "token")},
        },
        "configs": {
            "inline": {"content": "good morning\n"},
            "greeting": {"environment": "TDA_GREETING"},
        },
    }


def _service(**settings: Any) -> dict[str, Any]:
    return {
        "image": TINY_IMAGE,
        "command": BUSY,
        "stop_grace_period": "1s",
        "labels": LABELS,
        **settings,
    }


def _web(folder: Path) -> dict[str, Any]:
    return _service(
        environment={"PLAIN": "1", "DOLLAR": "$$HOME", "EMPTY": ""},
        env_file=[str(folder / "app.env")],
        networks={
            "front": {"aliases": ["shop", "web-front"]},
            # The priority makes it the first network to join, though not the first by name.
            "back": {"aliases": ["web-back"], "priority": 1000},
            "default": None,
        },
        links=["base:database"],
        volumes=[
            "/anonymous",
            {"type": "volume", "target": "/anonymous-long"},
            "named:/named",
            {"type": "volume", "source": "named", "target": "/named-long", "read_only": True},
            f"{folder}/bound:/bound:ro",
            {"type": "bind", "source": f"{folder}/bound", "target": "/bound-long"},
            {"type": "tmpfs", "target": "/scratch", "tmpfs": {"size": 65536}},
        ],
        tmpfs=["/scratch-short:size=64k"],
        secrets=[
            "token",
            "file-token",
            {"source": "token", "target": "/private/token", "uid": "65534", "mode": 0o400},
        ],
        configs=[
            {"source": "inline", "target": "/etc/app/inline", "mode": 0o440},
            {"source": "greeting", "target": "/etc/app/greeting"},
        ],
        healthcheck={
            "test": ["CMD", "test", "-e", "/etc/app/inline"],
            "interval": "30s",
            "timeout": "5s",
            "retries": 2,
            "start_period": "1s",
        },
        mem_limit="64m",
        mem_reservation="32m",
        cpus=0.5,
        cpu_shares=512,
        pids_limit=50,
        shm_size="16m",
        ulimits={"nproc": 4096, "nofile": {"soft": 512, "hard": 1024}},
        sysctls={"net.core.somaxconn": "1024"},
        cap_add=["NET_ADMIN"],
        cap_drop=["MKNOD"],
        security_opt=["no-new-privileges:true"],
        group_add=["65534"],
        devices=["/dev/null:/dev/nothing"],
        oom_score_adj=500,
        init=True,
        extra_hosts=["elsewhere.test:192.0.2.7", "machine.test:host-gateway"],
        dns=["192.0.2.53"],
        dns_search=["example.test"],
        dns_opt=["timeout:1"],
        restart="unless-stopped",
        stop_signal="SIGUSR1",
        stop_grace_period="3s",
        working_dir="/tmp",
        logging={"driver": "json-file", "options": {"max-size": "1m", "max-file": "2"}},
        labels={**LABELS, "own.label": "a, b=c"},
        deploy={"labels": {"deployed": "yes"}},
        depends_on={"base": {"condition": "service_started"}},
    )
