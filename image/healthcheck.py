"""Ask the daemon in this container whether its loop is alive. The image's HEALTHCHECK runs this.

The address comes from AUTOSCALER_LISTEN in the environment: that is how a container is configured.
Where the container runs `autoscaler agent`, the agent is asked instead, on its own port.
Nothing of the package is imported: this runs every few seconds, and the package takes a second to
load.
"""

import os
import sys
from pathlib import Path
from urllib.request import urlopen

# The first process of the container is the autoscaler, or an init process with the same arguments.
AGENT = b"agent" in Path("/proc/1/cmdline").read_bytes().split(b"\0")
LISTEN = "127.0.0.1:8081" if AGENT else os.environ.get("AUTOSCALER_LISTEN") or "127.0.0.1:8080"
HOST, _, PORT = LISTEN.strip().rpartition(":")
NEAR = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(HOST, HOST)  # noqa: S104 - the daemon binds it

try:
    with urlopen(f"http://{NEAR}:{PORT}/healthz", timeout=20) as answer:
        print(answer.read().decode().strip())
except OSError as error:
    sys.exit(f"{NEAR}:{PORT}/healthz: {error}")
