"""Ask the daemon in this container whether its loop is alive. The image's HEALTHCHECK runs this.

The address comes from AUTOSCALER_LISTEN in the environment: that is how a container is configured.
Nothing of the package is imported: this runs every few seconds, and the package takes a second to
load.
"""

import os
import sys
from urllib.request import urlopen

HOST, _, PORT = (os.environ.get("AUTOSCALER_LISTEN") or "127.0.0.1:8080").strip().rpartition(":")
NEAR = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(HOST, HOST)  # noqa: S104 - the daemon binds it

try:
    with urlopen(f"http://{NEAR}:{PORT}/healthz", timeout=4) as answer:
        print(answer.read().decode().strip())
except OSError as error:
    sys.exit(f"{NEAR}:{PORT}/healthz: {error}")
