"""Input of every kind that a person or a file may give: it is right, or one clear error.

Usage: python -m tests.faults.fuzz INPUTS [SEED]

Labels, settings, traces and the encrypted store share the inputs: hypothesis draws one, and
everything in VALUES is tried in one place of it. An exception that is none of ours, or a
problem that is empty or runs over lines, ends it with the input that did it, made small.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from unittest.mock import patch

import hypothesis
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

from autoscaler.core.errors import ConfigurationError, IntegrationError
from autoscaler.core.spec import ScalingSpec
from autoscaler.core.trace import parse_trace
from autoscaler.integrations.store import EncryptedStore
from autoscaler.settings import PREFIX, Settings

NAMES = [label.name.removeprefix("temporal.") for label in ScalingSpec.reference()]
VALUES = [
    "", " ", "0", "1", "-1", "10", "1e9", "1.5", "NaN", "inf", "5s", "10m", "1h30m", "7 %", "50%",
    "50%/1m", "5/10s,100%/1m", "4/15s", "2", "20",
    "0.1", "shop", "eu", "300s", "on", "off", "dry-run", "true", "workflow", "workflow,activity",
    "orders", "a,b,,c", "default", "current", "hold", "min", "99999999999999999999", "٣", "1_000",
    "\N{ZERO WIDTH SPACE}1", "0x10", "1s1s", "s", "%", "/", ",", "=", "1d", "1w",
    "protect", "ignore",
]  # fmt: skip
"""What people write, and what they nearly write."""

TEXT = st.text(max_size=12)
VALUE = st.sampled_from(VALUES) | TEXT | st.lists(st.sampled_from(VALUES), max_size=3).map("".join)
LABEL = st.sampled_from(NAMES) | st.sampled_from(NAMES).flatmap(
    lambda name: st.integers(0, len(name)).map(lambda cut: name[:cut] + name[cut + 1 :])
)
RIGHT = st.fixed_dictionaries(
    {"temporal.queue": st.sampled_from(["orders", "a,b"])},
    optional={
        "temporal.target": st.integers(1, 99).map(str),
        "temporal.min": st.sampled_from(["0", "1"]),
        "temporal.max": st.integers(1, 99).map(str),
        "temporal.scale-in.window": st.sampled_from(["0s", "5m"]),
        "temporal.scale-out.limit": st.sampled_from(["4/15s", "100%/15s", "4/30s,100%/1m"]),
        "temporal.busy": st.sampled_from(["protect", "ignore"]),
    },
)
LABELS = (
    RIGHT
    | st.builds(
        dict.__or__, RIGHT, st.dictionaries((LABEL | TEXT).map("temporal.{}".format), VALUE)
    )
    | st.dictionaries(TEXT, TEXT, max_size=4)
)

FIELDS = [field.upper() for field in Settings.model_fields if field != "integrations"]
PARTS = ["ENDPOINT", "NAMESPACE", "API_KEY", "API_KEY_FILE", "TLS", "TLS_CA_FILE", "NO_SUCH_PART"]
NAME_OF_SETTING = st.sampled_from(FIELDS) | st.builds(
    "INTEGRATIONS__{}__{}".format, st.sampled_from(["A", "b-c", "_", ""]), st.sampled_from(PARTS)
)
NO_NUL = st.text(
    st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=12
)
SETTINGS = st.dictionaries(
    NAME_OF_SETTING.map(PREFIX.__add__), st.sampled_from(VALUES) | NO_NUL, max_size=5
)
RIGHT_SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "AUTOSCALER_POLL_INTERVAL": st.sampled_from(["5s", "10m"]),
        "AUTOSCALER_DRY_RUN": st.sampled_from(["true", "false"]),
        "AUTOSCALER_LOG_LEVEL": st.sampled_from(["debug", "ERROR"]),
        "AUTOSCALER_PROJECTS": st.sampled_from(["", "shop,eu"]),
        "AUTOSCALER_INTEGRATIONS__A__ENDPOINT": st.sampled_from(["localhost:7233", "t.example:1"]),
    },
)
DOTENV = (
    st.just(b"")
    | st.binary(max_size=60)
    | SETTINGS.map(
        lambda values: "\n".join(f"{name}={value}" for name, value in values.items()).encode()
    )
)

CELL = st.sampled_from(
    ["time", "backlog", "arrivals", "2026-01-01T00:00:00Z", "0.5", "{", "}", '"']
)
LINE = (
    st.lists(CELL | VALUE, max_size=4).map(",".join)
    | st.tuples(st.integers(-5, 10**7), st.integers(-5, 10**10)).map("{0[0]},{0[1]}".format)
    | st.tuples(VALUE, VALUE).map('{{"time": {0[0]}, "backlog": {0[1]}}}'.format)
    | TEXT
)
HEADER = st.sampled_from(
    ["time,backlog", "time,arrivals", "backlog,time", '{"time": 0, "backlog": 1}']
)
ASCENDING = st.lists(st.integers(0, 10**5), max_size=6, unique=True).map(
    lambda times: [f"{at},{at % 97}" for at in sorted(times)]
)
TRACES = st.builds(
    lambda head, rows: [head, *rows], HEADER, ASCENDING | st.lists(LINE, max_size=6)
) | st.lists(LINE, max_size=5)


KEY = Fernet.generate_key()
PARTS_OF_A_STORE = st.dictionaries(
    st.sampled_from([part.lower() for part in PARTS]) | TEXT, VALUE | st.none() | st.booleans()
)
PLAIN = (
    st.dictionaries(TEXT, PARTS_OF_A_STORE, max_size=3).map(lambda each: {"integrations": each})
    | st.dictionaries(TEXT, VALUE, max_size=2)
    | st.lists(VALUE, max_size=2)
)
STORES = st.tuples(PLAIN.map(json.dumps).map(str.encode) | st.binary(max_size=40), st.booleans())
"""What is in the file, and whether it is encrypted."""
KEYS = st.just(KEY) | st.binary(max_size=60)


class Outcomes(Counter[str]):
    """How many inputs were right, and how many were refused in words."""

    def of(self, kind: str, read: Callable[[], object]) -> None:
        """Read one input. Raises what is none of our errors."""
        try:
            read()
        except ConfigurationError as error:
            problems = error.problems
        except IntegrationError as error:
            problems = (str(error),)
        else:
            self[f"{kind} right"] += 1
            return
        assert problems, "an error without a word"
        for problem in problems:
            assert problem.strip(), problems
            assert len(problem.splitlines()) == 1, problems
        self[f"{kind} refused"] += 1


def read_settings(folder: Path, values: Mapping[str, str], dotenv: bytes) -> Settings:
    """Read settings from an environment and a file."""
    file = folder / ".env"
    file.write_bytes(dotenv)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    with patch.dict(os.environ, {**clean, **values}, clear=True):
        return Settings.load(file, folder / "secrets")


def read_store(folder: Path, content: bytes, key: bytes) -> object:
    """Read a store from a file, with the key beside it."""
    file = folder / "store"
    file.write_bytes(content)
    (folder / "store.key").write_bytes(key)
    return EncryptedStore(file).all()


def damaged(content: bytes) -> Iterator[bytes]:
    """Return a file as it is, and cut off or changed at some places."""
    yield content
    for place in range(0, len(content), max(1, len(content) // len(VALUES))):
        yield content[:place]
        yield content[:place] + b"\xff" + content[place + 1 :]


Test = Callable[[], None]


def of_labels(outcomes: Outcomes, _: Path) -> Test:
    """Try labels, each with everything in one of them."""

    @given(LABELS, st.sampled_from(NAMES) | LABEL)
    def test(drawn: dict[str, str], name: str) -> None:
        for value in VALUES:
            changed = {**drawn, f"temporal.{name}": value}
            outcomes.of("labels", partial(ScalingSpec.from_labels, changed))

    return test


def of_traces(outcomes: Outcomes, _: Path) -> Test:
    """Try traces, each with everything in one row."""

    @given(TRACES, st.integers(0, 6))
    def test(lines: list[str], place: int) -> None:
        time_of_it = (lines[place : place + 1] or [str(10**6)])[0].partition(",")[0]
        for value in VALUES:
            changed = [*lines[:place], f"{time_of_it},{value}", *lines[place + 1 :]]
            outcomes.of("traces", partial(parse_trace, "trace", changed))

    return test


def of_settings(outcomes: Outcomes, folder: Path) -> Test:
    """Try settings, each with everything in one of them."""

    @given(RIGHT_SETTINGS | SETTINGS, DOTENV, NAME_OF_SETTING)
    def test(drawn: dict[str, str], dotenv: bytes, name: str) -> None:
        for value in VALUES:
            changed = {**drawn, PREFIX + name: value}
            outcomes.of("settings", partial(read_settings, folder, changed, dotenv))

    return test


def of_the_store(outcomes: Outcomes, folder: Path) -> Test:
    """Try files of the store, whole and damaged."""

    @given(STORES, KEYS)
    def test(drawn: tuple[bytes, bool], key: bytes) -> None:
        content, encrypted = drawn
        for each in damaged(Fernet(KEY).encrypt(content) if encrypted else content):
            outcomes.of("store", partial(read_store, folder, each, key))

    return test


SHARES = {of_labels: 0.4, of_traces: 0.4, of_settings: 0.1, of_the_store: 0.1}
"""Of the inputs; settings and the store take the longest, since they come from files."""


def fuzz(inputs: int, seed: int) -> Outcomes:
    """Try about so many inputs. Raises what is wrong with the first that is."""
    outcomes = Outcomes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "secrets").mkdir()
        for kind, share in SHARES.items():
            options = hypothesis.settings(
                max_examples=1 + round(inputs * share / len(VALUES)),
                deadline=None,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )
            hypothesis.seed(seed)(options(kind(outcomes, folder)))()
    return outcomes


def main() -> int:
    """Run the command line; return its exit code."""
    inputs = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    # Lines of .env that are none are warned of by the library that reads it.
    logging.disable()
    print(f"seed {seed}", flush=True)
    outcomes = fuzz(inputs, seed)
    for kind, number in sorted(outcomes.items()):
        print(f"{kind}: {number:,}")
    print(f"{sum(outcomes.values()):,} inputs, none of them a traceback")
    return 0


if __name__ == "__main__":
    sys.exit(main())
