"""Input that a person or a file may give: it is right, or one clear error says what is wrong.

Hypothesis draws labels, settings, traces or a store, and tries each of VALUES in one place of it.
Services files are damaged at several places.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from unittest.mock import patch

from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.errors import ConfigurationError, IntegrationError
from autoscaler.core.integration import Integration
from autoscaler.core.labels import label_docs, read_labels
from autoscaler.integrations.store import EncryptedStore
from autoscaler.settings import Settings
from autoscaler.simulation.trace import parse_trace
from autoscaler.wishes.services_file import read_services_file
from autoscaler.wrong_settings import PREFIX

NAMES = [label.name.removeprefix("temporal.") for label in label_docs()]
VALUES = [
    "", " ", "0", "1", "-1", "10", "1e9", "1.5", "NaN", "inf", "5s", "10m", "1h30m", "7 %", "50%",
    "50%/1m", "5/10s,100%/1m", "4/15s", "2", "20",
    "0.1", "shop", "eu", "300s", "on", "off", "dry-run", "true", "workflow", "workflow,activity",
    "orders", "a,b,,c", "default", "current", "hold", "min", "99999999999999999999", "٣", "1_000",
    "\N{ZERO WIDTH SPACE}1", "0x10", "1s1s", "s", "%", "/", ",", "=", "1d", "1w",
    "protect", "ignore",
    "mon-fri 07:30-19:00 min=5 max=40", "sat,sun 22:00-06:00 max=3; daily 1:00-2:00 min=1",
    "fri-mon 07:00-07:00 min=1", "* 00:00-24:00 min=99", "Europe/Berlin", "Europe/Berln", "Europe",
]  # fmt: skip
"""What people write, and what they write by mistake."""

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
NO_NUL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
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
    [
        "time",
        "backlog",
        "arrivals",
        "2026-01-01T00:00:00Z",
        "0001-01-01T00:00:00-12:00",
        "0.5",
        "{",
        "}",
        '"',
    ]
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
ASCENDING = st.lists(st.integers(0, 10**5), max_size=6, unique=True).map(sorted)
RIGHT_CSV = ASCENDING.map(lambda times: [f"{at},{at % 97}" for at in times])
RIGHT_JSON = ASCENDING.map(
    lambda times: [f'{{"time": {at}, "arrivals": {at % 97}}}' for at in times]
)
TRACES = (
    RIGHT_JSON
    | st.builds(lambda head, rows: [head, *rows], HEADER, RIGHT_CSV | st.lists(LINE, max_size=6))
    | st.lists(LINE, max_size=5)
)
LAST_CELL = re.compile(r"[^,: ]*?(?=\}?$)")


KEY, ANOTHER_KEY = (base64.urlsafe_b64encode(bytes([byte]) * 32) for byte in b"kK")
FERNET = Fernet(KEY)
RIGHT_KEYS = st.sampled_from(
    [KEY, KEY + b"\n", ANOTHER_KEY + b"," + KEY, b" %b , %b," % (KEY, ANOTHER_KEY)]
)
OTHER_KEYS = (
    st.lists(st.sampled_from([KEY, ANOTHER_KEY, KEY[:-1], b"", b" "]), max_size=3).map(b",".join)
    | st.binary(max_size=60)
    | st.none()
)
KEYS = st.integers(0, 3).flatmap(lambda number: RIGHT_KEYS if number else OTHER_KEYS)
"""Content of the key's file; None: there is no file. Mostly right, or only keys are tried."""

PART = st.sampled_from([*Integration.model_fields, "no_such_part"])
SURROGATES = st.text(st.characters(), max_size=4)
"""JSON can hold them although they are no valid text."""
ODD = (
    VALUE
    | SURROGATES
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.lists(TEXT, max_size=2)
    | st.dictionaries(SURROGATES, VALUE | st.none(), max_size=2)
)
RIGHT_CONNECTION = st.fixed_dictionaries(
    {},
    optional={
        "endpoint": st.sampled_from(["localhost:7233", "t.example:1"]),
        "namespace": st.sampled_from(["default", "shop.a1b2c"]),
        "api_key": st.sampled_from(["secret", "\N{SNOWMAN}"]),
        "tls": st.sampled_from(["auto", "on", " ON "]),
        "tls_ca_file": st.just("/run/secrets/ca"),
        "tls_server_name": st.just("t.example"),
        "metadata": st.dictionaries(TEXT, TEXT, max_size=2),
    },
)
CONNECTION = (
    RIGHT_CONNECTION
    | st.builds(dict.__or__, RIGHT_CONNECTION, st.dictionaries(PART, ODD, max_size=1))
    | st.dictionaries(PART | TEXT, ODD, max_size=4)
)
NAME = st.sampled_from(["default", "shop", "A-b"]) | SURROGATES
CONNECTIONS = st.dictionaries(NAME, RIGHT_CONNECTION, max_size=2) | st.dictionaries(
    NAME, CONNECTION, max_size=3
)
PLAIN = (
    CONNECTIONS.map(lambda each: {"integrations": each})
    | st.dictionaries(st.just("integrations") | TEXT, ODD, max_size=2)
    | st.lists(VALUE, max_size=2)
)
DEEP = st.just(b"[" * 10**4)
FILES = PLAIN.map(json.dumps).map(str.encode) | st.binary(max_size=40) | DEEP
BYTE = st.sampled_from([b"\xff", b"0", b"x", b" ", b'"', b"}", b","]) | st.binary(
    min_size=1, max_size=1
)
SEALS = st.sampled_from([(bytes, FERNET.encrypt), (FERNET.encrypt, bytes), (bytes, bytes)])
"""What is done to a file before it is damaged, and afterwards."""


SERVICE = st.sampled_from(["shop/worker", "shop/*", "shop_worker", "[", "*", "<<", "123"]) | TEXT
SERVICES = st.dictionaries(
    SERVICE,
    st.dictionaries(LABEL | TEXT, VALUE | st.lists(VALUE, max_size=2) | ODD, max_size=3) | ODD,
    max_size=3,
).map(lambda services: json.dumps({"services": services}))
YAML_PIECE = st.sampled_from(
    ["services:", "  shop/worker:", "    max: 4", "\t", "&a", "*a", "- ", "!!python/none", "? ",
     "|", "---", "...", "%YAML 9.9", "{", "[[", "}", "'", '"', "#", "<<: ", "\0", "\u2028"]
)  # fmt: skip
YAML = (
    SERVICES
    | st.lists(YAML_PIECE | VALUE, max_size=8).map("\n".join)
    | st.lists(YAML_PIECE | TEXT, max_size=8).map(" ".join)
)


class Outcomes(Counter[str]):
    """How many inputs were tried, by kind and outcome."""

    def of(self, kind: str, read: Callable[[], object]) -> None:
        """Read one input and count it. Raises every exception that is not one of our errors."""
        try:
            read()
        except ConfigurationError as error:
            problems = error.problems
        except IntegrationError as error:
            problems = (str(error),)
        else:
            self[f"{kind} right"] += 1
            return
        assert problems, "an error without words"
        for problem in problems:
            assert problem.strip(), problems
            assert len(problem.splitlines()) == 1, problems
        self[f"{kind} refused"] += 1


def put(file: Path, content: bytes | None) -> None:
    """Give a file this content; None: there is no file.

    The file is made again each time: writing over an old one takes five times as long on ext4.
    """
    file.unlink(missing_ok=True)
    if content is not None:
        file.write_bytes(content)


def read_settings(folder: Path, values: Mapping[str, str]) -> Settings:
    """Read settings from an environment of only these values, and from files in a folder."""
    with patch.dict(os.environ, {"PATH": os.defpath, **values}, clear=True):
        return Settings.load(folder / ".env", folder / "secrets")


def read_store(folder: Path, content: bytes) -> object:
    """Read a store from a file, with the key beside it."""
    file = folder / "store"
    put(file, content)
    return EncryptedStore(file).all()


def read_services(content: bytes) -> object:
    """Read a services file. Raises ConfigurationError with all that is wrong with it."""
    file = read_services_file("shop.yaml", content)
    if file.problems:
        raise ConfigurationError(file.problems)
    return file


def damaged(content: bytes, byte: bytes) -> Iterator[bytes]:
    """Return a file whole, and damaged at several places: cut off, or with another byte."""
    yield content
    for place in range(0, len(content), max(1, 2 * len(content) // len(VALUES))):
        yield content[:place]
        yield content[:place] + byte + content[place + 1 :]


Test = Callable[[], None]
Seal = Callable[[bytes], bytes]


def of_labels(outcomes: Outcomes, _: Path) -> Test:
    """Try labels, with each of VALUES in one of them."""

    @given(LABELS, st.sampled_from(NAMES) | LABEL)
    def test(drawn: dict[str, str], name: str) -> None:
        for value in VALUES:
            changed = {**drawn, f"temporal.{name}": value}
            outcomes.of("labels", partial(read_labels, changed))

    return test


def of_traces(outcomes: Outcomes, _: Path) -> Test:
    """Try traces, with each of VALUES in one row. The row keeps its form, CSV or JSON."""

    @given(TRACES, st.integers(0, 6))
    def test(lines: list[str], place: int) -> None:
        row = (lines[place : place + 1] or [f"{10**6},0"])[0]
        before, after = LAST_CELL.split(row, maxsplit=1)
        for value in VALUES:
            changed = [*lines[:place], before + value + after, *lines[place + 1 :]]
            outcomes.of("traces", partial(parse_trace, "trace", changed))

    return test


def of_settings(outcomes: Outcomes, folder: Path) -> Test:
    """Try settings, with each of VALUES in one of them."""

    @given(RIGHT_SETTINGS | SETTINGS, DOTENV, NAME_OF_SETTING)
    def test(drawn: dict[str, str], dotenv: bytes, name: str) -> None:
        put(folder / ".env", dotenv)
        for value in VALUES:
            changed = {**drawn, PREFIX + name: value}
            outcomes.of("settings", partial(read_settings, folder, changed))

    return test


def of_the_store(outcomes: Outcomes, folder: Path) -> Test:
    """Try contents of the store, with each of VALUES in one part of a connection."""

    @given(CONNECTIONS, NAME, PART, KEYS)
    def test(drawn: dict[str, dict[str, object]], name: str, part: str, key: bytes | None) -> None:
        put(folder / "store.key", key)
        for value in VALUES:
            changed = {**drawn, name: {**drawn.get(name, {}), part: value}}
            content = FERNET.encrypt(json.dumps({"integrations": changed}).encode())
            outcomes.of("store", partial(read_store, folder, content))

    return test


def of_damaged_stores(outcomes: Outcomes, folder: Path) -> Test:
    """Try whole and damaged files of the store, encrypted before, after, or not at all."""

    @given(FILES, SEALS, BYTE, KEYS)
    def test(content: bytes, seals: tuple[Seal, Seal], byte: bytes, key: bytes | None) -> None:
        put(folder / "store.key", key)
        before, after = seals
        for each in damaged(before(content), byte):
            outcomes.of("damaged store", partial(read_store, folder, after(each)))

    return test


def of_services_files(outcomes: Outcomes, _: Path) -> Test:
    """Try services files, whole and damaged."""

    @given(YAML, BYTE)
    def test(text: str, byte: bytes) -> None:
        for each in damaged(text.encode("utf-8", "surrogatepass"), byte):
            outcomes.of("services files", partial(read_services, each))

    return test
