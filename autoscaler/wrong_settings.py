"""What is wrong with AUTOSCALER_* variables, in words. No message shows what may be a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from autoscaler.core.integration import Integration

PREFIX = "AUTOSCALER_"
WITH_PARTS = f"{PREFIX}INTEGRATIONS"
"""The variable that has parts of several names: AUTOSCALER_INTEGRATIONS__<NAME>__ENDPOINT."""
_WITH_NAMES = f"{PREFIX}GROUPS"
"""The variable that has a part of one name: AUTOSCALER_GROUPS__<NAME>."""

_SECRET = {"access_token", "agent_secret", "encryption_key"}
"""Settings whose values messages must not show."""
_NO_SECRET = {"endpoint", "namespace", "tls", "tls_server_name"}
"""Parts of an integration whose values messages may show."""

_FORMS = {
    "rpc_budget": "a number from 1 to 10000, the calls a second to each integration",
    "max_replicas": "a whole number from 1 to 1000000, the most replicas of all services together",
    "groups": "a whole number from 0 to 1000000, the most replicas of the services of a group",
    "label_prefix": (
        "lower-case letters, digits, dots and dashes, with a letter or digit at both ends, such as"
        " temporal or acme.io"
    ),
    "orchestrators": "'auto', 'compose' or 'swarm', or several separated by commas",
}
"""What values must be where pydantic's words are no help."""


def unknown(names: Collection[str], fields: Collection[str]) -> Iterator[str]:
    """Yield a message for each variable, in upper case, that sets none of the `fields`."""
    known = [f"{PREFIX}{field.upper()}" for field in fields]
    for name in sorted(names):
        setting, parts, _ = name.partition("__")
        if parts and setting in known and setting not in {WITH_PARTS, _WITH_NAMES}:
            yield f"{name} is not a setting (only {WITH_PARTS} and {_WITH_NAMES} have parts)"
        elif setting not in known:
            ends = [field.removeprefix(PREFIX) for field in known]
            near = difflib.get_close_matches(setting.removeprefix(PREFIX), ends, n=1)
            hint = f"the nearest is {PREFIX}{near[0]}" if near else f"known: {', '.join(known)}"
            yield f"{name} is not a setting ({hint})"


def wrong(error: ValidationError) -> Iterator[str]:
    """Yield pydantic's findings as messages, which never show the value of a secret."""
    for entry in error.errors(include_url=False):
        if entry["type"] == "default_factory_not_called":
            continue  # a default that follows from another setting, which is named itself
        path = [str(part) for part in entry["loc"] if isinstance(part, str)]
        if not path:
            yield entry["msg"].removeprefix("Value error, ")
            continue
        name = PREFIX + "__".join(path).upper()
        message = _in_words(entry)
        value = entry["input"]
        if entry["type"] == "extra_forbidden":
            known = ", ".join(field.upper() for field in Integration.model_fields)
            yield f"{name} is not a setting (known: {known})"
        elif isinstance(value, str) and _may_be_shown(path):
            yield f"{name}={value!r}: {message}"
        else:
            yield f"{name}: {message}"


def unreadable(error: SettingsError) -> str:
    """Return a message on a variable of several names that holds what is not JSON."""
    found = re.search(r'field "(\w+)"', str(error))
    if found is None:
        return str(error)
    name = f"{PREFIX}{found[1].upper()}"
    return f"{name} must be JSON; or set a variable for each name: {name}__<NAME>"


def _may_be_shown(path: list[str]) -> bool:
    if path[0] == "integrations":
        return len(path) > 1 and path[-1] in _NO_SECRET
    return path[0] not in _SECRET


def _in_words(entry: ErrorDetails) -> str:
    """Return what a value must be, in our words instead of pydantic's."""
    field = str(entry["loc"][0]) if entry["loc"] else ""
    if entry["type"].startswith("bool"):
        return "must be true or false"
    if entry["type"] == "value_error":
        return entry["msg"].removeprefix("Value error, ")
    if entry["type"] in {"dict_type", "mapping_type"} and len(entry["loc"]) == 1:
        return f"set a variable for each name: {PREFIX}{field.upper()}__<NAME>"
    if field in _FORMS:
        return f"must be {_FORMS[field]}"
    return entry["msg"].replace("Input should be", "must be")
