"""Make a machine ready for the demo and the tests.

Usage: python3 scripts/setup.py VERB

Every verb can be repeated: what is already there is used as it is, and costs next to nothing.
The output of the tools that run goes to .cache/setup.log.

The exit code is 0 when all went well, 1 when a verb failed, 2 for an unknown verb, 3 when no Docker
Engine can run here, and 130 when interrupted.
"""

# Only the standard library is used: this runs before any package is installed. The parts are in
# scripts/provision, which Python finds because it looks in the folder of the script it runs.

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from provision.compose import compose, compose_2_26, compose_2_40
from provision.engine import engine, stop_engine
from provision.engines import engines, ssh_image
from provision.images import images, test_image, tiny_image
from provision.page import browser, prometheus
from provision.python import bench, release_tools, venv
from provision.stand_ins import base_image, proxy_image
from provision.tools import SetupError
from provision.typescript import typescript

USAGE_EXIT = 2
INTERRUPT_EXIT = 130


def everything() -> None:
    """Set up what the demo and most of the tests need, in order."""
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
    "ssh-image": ssh_image,
    "base-image": base_image,
    "bench": bench,
    "tiny-image": tiny_image,
    "proxy-image": proxy_image,
    "images": images,
    "browser": browser,
    "prometheus": prometheus,
    "release-tools": release_tools,
    "typescript": typescript,
    "test-image": test_image,
    "all": everything,
}


def main() -> int:
    """Run the verb given on the command line; return the exit code."""
    name = " ".join(sys.argv[1:])
    if name not in VERBS:
        print(__doc__)
        for known, verb in VERBS.items():
            summary, *_ = (verb.__doc__ or "").splitlines()
            print(f"  {known:12} {summary}")
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
