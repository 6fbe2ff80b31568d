"""The documentation agrees with the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from autoscaler.cli import commands
from autoscaler.cli.labels import reference_markdown, schema_json
from autoscaler.core.integration import Integration
from autoscaler.core.labels import label_docs, read_labels, scaling_labels
from autoscaler.core.schema import services_schema
from autoscaler.settings import Settings
from autoscaler.wishes.services_file import read_services_file

ROOT = Path(__file__).parents[2]
COMPOSE_FILES = sorted((ROOT / "compose").glob("*/*.yaml"))
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += sorted((ROOT / "docs").glob("**/*.md"))
PAGES += sorted((ROOT / "compose").glob("*/README.md"))
VALIDATOR = Draft202012Validator(services_schema())


def services_of(file: Path) -> list[dict[str, Any]]:
    """Return the services of a Compose file, each merged with the service that it extends."""
    services = []
    for service in yaml.safe_load(file.read_text())["services"].values():
        base: dict[str, Any] = {}
        if "extends" in service:
            other = file.parent / service["extends"]["file"]
            base = yaml.safe_load(other.read_text())["services"][service["extends"]["service"]]
        services.append({**base, **service})
    return services


def labels_of(service: dict[str, Any]) -> dict[str, str]:
    """Return the labels of a service as Docker has them, with text as values."""
    given = {**service.get("labels", {}), **service.get("deploy", {}).get("labels", {})}
    return {key: str(value) for key, value in given.items()}


def test_the_reference_of_labels_is_generated_from_the_code() -> None:
    written = (ROOT / "docs" / "labels.md").read_text()
    assert written == reference_markdown(), "run: autoscaler labels --markdown > docs/labels.md"


def test_the_schema_of_services_files_is_generated_from_the_code() -> None:
    written = (ROOT / "docs" / "services.schema.json").read_text()
    assert written == schema_json(), "run: autoscaler labels --schema > docs/services.schema.json"


def test_the_services_files_of_the_pages_are_right() -> None:
    page = (ROOT / "docs" / "services-files.md").read_text()
    files = [text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "max" in text]
    assert files
    for text in files:
        assert read_services_file("shop.yaml", text.encode()).problems == ()
        assert VALIDATOR.is_valid(yaml.safe_load(text))


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_label_in_the_examples_is_right(file: Path) -> None:
    labels = map(labels_of, services_of(file))
    labelled = [given for given in labels if scaling_labels(given, "temporal")]

    # A file that only adds to the daemon of another file does not give it the socket.
    service = yaml.safe_load(file.read_text())["services"].get("autoscaler", {})
    daemon = bool({"volumes", "extends", "environment"}.intersection(service))
    assert bool(labelled) == daemon, "an example without labels shows nothing"
    for given in labelled:
        read_labels(given)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_labels_in_every_page_exist(page: Path) -> None:
    known = {doc.name for doc in label_docs()}
    named = re.findall(r"(?m)^\s+(temporal\.[a-z.-]+)[:=]", page.read_text())

    assert set(named) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_in_a_page_leads_to_a_file(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_autoscaler_command_in_a_page_exists(page: Path) -> None:
    verbs = re.findall(r"(?m)(?:^|`)autoscaler ([a-z-]+)", page.read_text())

    for verb in set(verbs):
        done = CliRunner().invoke(commands, [verb, "--help"])
        assert done.exit_code == 0, f"autoscaler {verb}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_in_a_page_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)

    assert [target for target in named if f"\n{target}:" not in makefile] == []


def test_every_make_target_with_a_description_is_in_the_help_below_a_group() -> None:
    described = re.findall(r"(?m)^([a-z-]+):.*## ", (ROOT / "Makefile").read_text())
    # Below another make, it would say which folder it enters.
    command = ["make", "--no-print-directory", "help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    first, *groups = shown.stdout.split("\n\n")

    assert first.startswith("  help ")
    assert all(re.match(r"\w.*\n  [a-z]", group) for group in groups)
    assert re.findall(r"(?m)^  ([a-z-]+) ", shown.stdout) == described


def variables(text: str) -> set[str]:
    return set(re.findall(r"AUTOSCALER_[A-Z_]+", text))


def test_the_example_environment_names_every_setting_and_no_other() -> None:
    named = variables((ROOT / ".env.example").read_text())
    plain = {name for name in named if "__" not in name}
    groups = {name for name in named if name.startswith("AUTOSCALER_GROUPS__")}
    nested = {name.split("__")[2].lower() for name in named - plain - groups}
    settings = {f"AUTOSCALER_{field.upper()}" for field in Settings.model_fields}

    assert groups
    assert plain == settings - {"AUTOSCALER_INTEGRATIONS", "AUTOSCALER_GROUPS"}
    assert nested <= set(Integration.model_fields)


def test_the_example_environment_is_valid_and_has_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in variables((ROOT / ".env.example").read_text()):
        monkeypatch.delenv(name, raising=False)
    everything = (ROOT / ".env.example").read_text().replace("\n#AUTOSCALER_", "\nAUTOSCALER_")
    (tmp_path / ".env").write_text(everything)

    as_it_stands = Settings.load(ROOT / ".env.example", tmp_path / "none")
    with_everything = Settings.load(tmp_path / ".env", tmp_path / "none")

    assert set(as_it_stands.integrations) == {"default"}
    assert set(with_everything.integrations) == {"default", "cloud", "mtls"}
    assert set(with_everything.groups) == {"gpu"}
    unchanged = {"integrations", "groups"}
    assert with_everything.model_dump(exclude=unchanged) == Settings.model_construct().model_dump(
        exclude=unchanged
    ), "a default in the file is not the default"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_in_a_page_exists(page: Path) -> None:
    known = {f"AUTOSCALER_{field.upper()}" for field in Settings.model_fields}
    named = {name.partition("__")[0] for name in variables(page.read_text())}

    assert {name.rstrip("_") for name in named} <= known
