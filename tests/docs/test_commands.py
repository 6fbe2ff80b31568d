"""Every command, file and snippet in README and docs works as it is written."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml

from autoscaler.cli import commands
from autoscaler.core.labels import read_labels, scaling_labels
from tests.docs.test_docs import COMPOSE_FILES, PAGES, ROOT, labels_of

FENCE = re.compile(r"(?ms)^```(\w+)\n(.*?)^```")
PLAIN = {
    "cat",
    "curl",
    "export",
    "install",
    "openssl",
    "pip",
    "seq",
    "systemctl",
    "tcld",
    "watch",
    "xargs",
}
"""Commands of other projects, whose arguments are not checked."""
PYTEST = ".venv/bin/pytest"
KNOWN = {"make", "docker", "autoscaler", "python", PYTEST, *PLAIN}


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCE.findall(page.read_text()) if language in languages]


def typed(page: Path) -> Iterator[list[str]]:
    """Yield the words of every command in a page. Each part of a pipe is a command."""
    for text in blocks(page, "sh", "console"):
        # Join lines that end with a backslash, and remove here-documents.
        block = re.sub(r"(?ms)<<'?(\w+)'?$.*?^\1$", "", text.replace("\\\n", " "))
        prompted = re.findall(r"(?m)^\$ (.+)", block)
        for line in prompted or block.splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&")
            lexer.whitespace_split = True
            words: list[str] = []
            for word in lexer:
                if word in {"|", "&&", ";"}:
                    if not re.match(r"\w+=", words[0]):
                        yield words
                    words = []
                else:
                    words.append(word)
            if words and not re.match(r"\w+=", words[0]):
                yield words


@cache
def docker_help(*command: str) -> str:
    done = subprocess.run(
        ["docker", *command, "--help"], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout if done.returncode == 0 else ""


def verbs_of(words: list[str]) -> tuple[list[str], list[str]]:
    """Split a docker command into its verbs and the rest."""
    groups = {"compose", "stack", "service", "swarm", "volume", "image"}
    rest = words[1:]
    verbs = [rest.pop(0)]
    if verbs[0] in groups:
        while rest[0].startswith("-"):  # options of the group, with their values
            verbs_option = rest.pop(0)
            if "=" not in verbs_option:
                rest.pop(0)
        verbs.append(rest.pop(0))
    return verbs, rest


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_known_and_parsed(page: Path) -> None:
    for words in typed(page):
        assert words[0] in KNOWN, words
        if words[0] == "autoscaler":
            group = typer.main.get_command(commands)
            command = group.commands[words[1]]
            command.make_context(words[1], words[2:])
        if words[0] == "make":
            assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
        if words[0] == "python" and words[1] != "-m":
            assert (ROOT / words[1]).exists()
        if words[0] == PYTEST:
            assert (ROOT / words[-1]).exists()


@pytest.mark.engine
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_docker_command_and_option_exists(page: Path) -> None:
    for words in typed(page):
        if words[0] != "docker":
            continue
        verbs, rest = verbs_of(words)
        text = docker_help(*verbs)
        assert text, f"docker {' '.join(verbs)} does not exist"
        if verbs[-1] == "exec":
            rest = rest[:1]  # another command follows
        for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
            assert option in text, f"docker {' '.join(verbs)} has no {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_snippet_can_be_read(page: Path) -> None:
    for text in blocks(page, "json"):
        rest = text.strip()
        while rest:
            _, end = json.JSONDecoder().raw_decode(rest)
            rest = rest[end:].strip()
    for text in blocks(page, "yaml"):
        read = yaml.safe_load(text)
        services = read.get("services", read)
        for service in filter(lambda each: isinstance(each, dict), services.values()):
            labels = labels_of(service)
            if scaling_labels(labels, "temporal"):
                read_labels(labels)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:autoscaler|bench|compose|docs|image|scripts|tests)/[\w./-]+)`", page.read_text()
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.engine
@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_compose_reads_every_example(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"\$\{(\w+):\?", file.read_text()):
        monkeypatch.setenv(name, "something-of-yours")
    done = subprocess.run(
        ["docker", "compose", "--file", str(file), "config", "--quiet"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.engine
@pytest.mark.parametrize("page", ["README.md", "docs/how-do-i.md"])
def test_compose_reads_every_whole_file_in_a_page(page: str) -> None:
    whole = [text for text in blocks(ROOT / page, "yaml") if text.startswith("name:")]
    assert whole
    for text in whole:
        done = subprocess.run(
            ["docker", "compose", "--file", "-", "config", "--quiet"],
            input=text, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


def test_the_figures_of_the_comparison_come_from_the_policy_page() -> None:
    readme, policy = (ROOT / "README.md").read_text(), (ROOT / "docs/policy.md").read_text()
    section = readme.partition("## How it compares")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    table = policy.partition("<!-- table: max-50 -->")[2].partition("<!-- end of table -->")[0]
    day = next(line for line in policy.splitlines() if line.startswith("| day | changes"))

    assert [row for row in rows if row not in table] == []
    for figure in re.findall(r"\d+", day):
        assert figure in section


def test_the_picture_is_drawn_from_the_recorded_run() -> None:
    from scripts import pictures  # noqa: PLC0415 - it is a script, which only this test needs

    record = json.loads(pictures.RECORD.read_text("utf-8"))
    assert pictures.DRAWING.read_text("utf-8") == pictures.drawing(record)
    replicas = [one["replicas"] for one in record]
    assert (replicas[0], max(replicas), replicas[-1]) == (1, 20, 1)
