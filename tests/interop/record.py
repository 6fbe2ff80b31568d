"""Record the inspects of containers that Compose has made on real engines, for the unit tests.

Run by hand, after `scripts/setup.py` has provided the engines and Compose:
    python -m tests.interop.record
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autoscaler.orchestrators.engine import Json
from tests.interop import rich
from tests.interop.conftest import COMPOSES, ENGINES
from tests.interop.engines import Engines, plugin
from tests.interop.projects import BUSY, Compose, Project
from tests.real.stages import TINY_IMAGE

FOLDER = Path(__file__).parents[1] / "data/inspects"
NOISE = (
    # Unique to this container or machine, and not copied to a new replica.
    *("GraphDriver", "HostnamePath", "HostsPath", "LogPath", "ResolvConfPath", "State"),
    *("SandboxID", "SandboxKey", "EndpointID", "NetworkID"),
)


def only_once(name: str) -> Mapping[str, Any]:
    """Return services that can have only one container, and one with a fixed hardware address."""
    plain = {"image": TINY_IMAGE, "command": BUSY, "stop_grace_period": "1s"}
    fixed = {"ipv4_address": "10.231.77.7"}
    return {
        "own-name": {**plain, "container_name": f"{name}-of-its-own"},
        "fixed-port": {**plain, "ports": ["127.0.0.1:23190:80"]},
        "fixed-address": {**plain, "networks": {"numbered": fixed}},
        "hardware-address": {**plain, "mac_address": "02:42:c0:00:02:07"},
    }


def record(project: Project) -> Mapping[str, Json]:
    """Return the inspects of a project's containers, one of them also after a recreate."""
    rich.prepare(project)
    content = rich.content(project.folder)
    content["services"] |= only_once(project.name)
    content["networks"]["numbered"] = {"ipam": {"config": [{"subnet": "10.231.77.0/24"}]}}
    project.write(content)
    project.compose("--profile=extra", "up", "--detach")
    found = project.inspects()
    content["services"]["web"]["environment"]["ADDED"] = "later"
    project.write(content)
    project.up()
    return {**found, "web-1 recreated": project.inspects()["web-1"]}


def tidy(found: Mapping[str, Json], project: Project) -> Mapping[str, Json]:
    """Remove what is unique to this machine and run, so that two recordings are equal."""
    text = json.dumps(without_noise(found))
    text = text.replace(str(project.folder), "/srv/shop").replace(project.name, "shop")
    recorded: Mapping[str, Json] = json.loads(text)
    for name, inspect in recorded.items():
        inspect["Created"] = "2026-01-01T00:00:00.123456789Z"
        labels = inspect["Config"]["Labels"]
        inspect["Config"]["Labels"] = dict(sorted(labels.items()))
        _rename(inspect, name)
    return recorded


def without_noise(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_noise(below) for key, below in value.items() if key not in NOISE}
    if isinstance(value, list):
        return [without_noise(below) for below in value]
    return value


def _rename(inspect: Json, name: str) -> None:
    """Replace the id of a container by one that is computed from its name."""
    old, new = inspect["Id"], hashlib.sha256(name.encode()).hexdigest()
    text = json.dumps(inspect).replace(old, new).replace(old[:12], new[:12])
    inspect.clear()
    inspect.update(json.loads(text))


def save(file: Path, recorded: Mapping[str, Json]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


def main(versions: Iterable[str] = ENGINES) -> None:
    engines = Engines()
    try:
        for version in versions:
            engine = engines.get(version)
            with tempfile.TemporaryDirectory() as folder:
                compose = Compose(engine, plugin(COMPOSES["2.40"], Path(folder, "config")))
                project = Project(compose, {}, rich.VARIABLES)
                try:
                    save(FOLDER / f"api-{engine.api}.json", tidy(record(project), project))
                finally:
                    project.close()
    finally:
        engines.close()


if __name__ == "__main__":
    main()
