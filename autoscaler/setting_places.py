"""Where the values of settings are written: environment, `.env`, secrets directory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic_settings import NestedSecretsSettingsSource

from autoscaler.core.integration import canonical
from autoscaler.wrong_settings import PREFIX, WITH_PARTS


class OurSecrets(NestedSecretsSettingsSource):
    """Reads our files in the secrets directory only: files of others need not be text."""

    @classmethod
    def load_secrets(cls, path: Path) -> dict[str, str]:
        """Return the content of each file that has the name of a variable, by that name."""
        files = path.iterdir() if path.is_dir() else ()
        return {
            file.name: file.read_text(encoding="utf-8").strip()
            for file in files
            if file.name.upper().startswith(PREFIX) and file.is_file()
        }


def given(dotenv: Path) -> set[str]:
    """Return the names of our variables in the environment and `.env`, in upper case.

    Files in the secrets directory are left out. They may have any name, since a *_FILE setting can
    point to any file.
    """
    names = [*os.environ, *dotenv_values(dotenv)]
    return {name.upper() for name in names if name.upper().startswith(PREFIX)}


def origins(names: Iterable[str], dotenv: Path, secrets: Path) -> Mapping[str, str]:
    """Return for each integration the places of its settings; the first place wins."""
    places = {
        "environment": [*os.environ],
        ".env": [*dotenv_values(dotenv)],
        "secrets directory": [*OurSecrets.load_secrets(secrets)],
    }
    found = {
        place: {_integration_in(variable) for variable in variables}
        for place, variables in places.items()
    }
    return {
        # A variable can also hold all integrations at once, as JSON. Its name then names none.
        name: ", ".join(place for place, integrations in found.items() if integrations & {name, ""})
        for name in names
    }


def _integration_in(variable: str) -> str | None:
    """Return the integration that a variable belongs to; empty for all, None for none."""
    name = variable.upper()
    if name == WITH_PARTS:
        return ""
    if not name.startswith(f"{WITH_PARTS}__"):
        return None
    return canonical(name.split("__")[1])
