"""autoscaler integrations: list, add, test, remove, rekey"""

from __future__ import annotations

import asyncio
import io
import select
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Column, Table

from autoscaler.app import App, build
from autoscaler.cli import say
from autoscaler.cli.findings import show
from autoscaler.core.errors import ConfigurationError, IntegrationError, OrchestratorError
from autoscaler.core.integration import DEFAULT_NAMESPACE, Integration, TlsMode, canonical
from autoscaler.core.spec import DEFAULT_INTEGRATION
from autoscaler.settings import Settings

commands = typer.Typer(
    help="Temporal connections: list, test, and keep them in the encrypted store.",
    no_args_is_help=True,
)

LONGEST_LINE = 10_000
"""More characters than any row of a table has."""
STDIN_WITHIN = 2.0
"""Seconds in which something has to arrive on a standard input that is no terminal."""

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Its name, as in the label temporal.integration.")
]


@commands.command(name="list")
def list_() -> None:
    """List every integration and where it comes from."""
    settings = Settings.load()
    known = build(settings).integrations
    names: Iterable[str] = settings.integrations
    problem = None
    try:
        names = known.names()
    except IntegrationError as error:
        problem = str(error)
    # Whoever copies a name or an endpoint needs all of it: the other columns are folded.
    table = Table(
        *(Column(name, no_wrap=True) for name in ("name", "endpoint", "namespace")),
        *(Column(name, overflow="fold") for name in ("credential", "TLS", "from")),
    )
    for name in sorted({*names, DEFAULT_INTEGRATION}):
        try:
            table.add_row(name, *_cells(known.get(name)), known.origin(name))
        except IntegrationError as error:
            problem = str(error)
    console = Console(markup=False, highlight=False)
    # Lines longer than the terminal are better than a part of an endpoint.
    needed = console.measure(table, options=console.options.update(width=LONGEST_LINE)).minimum
    console.width = max(console.width, needed)
    console.print(table)
    if problem is not None:
        raise IntegrationError(problem)


def _cells(integration: Integration) -> tuple[str, ...]:
    kinds = ["API key"] if integration.has_api_key else []
    kinds += ["client certificate"] if integration.has_certificate else []
    return (
        integration.endpoint,
        integration.namespace,
        " and ".join(kinds) or "none",
        "on" if integration.uses_tls else "off",
    )


@commands.command()
def add(  # noqa: PLR0913 - the options are the parts of an integration
    name: Name,
    *,
    endpoint: Annotated[str, typer.Option(help="Host and port.")],
    namespace: Annotated[str, typer.Option(help="Of services that name none.")] = DEFAULT_NAMESPACE,
    api_key_stdin: Annotated[
        bool, typer.Option("--api-key-stdin", help="Read the API key from standard input.")
    ] = False,
    cert: Annotated[
        Path | None, typer.Option(help="PEM file with the client certificate (mTLS).")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file with its private key.")] = None,
    ca: Annotated[Path | None, typer.Option(help="PEM file with the authority to trust.")] = None,
    server_name: Annotated[
        str | None, typer.Option(help="Name to expect in the server's certificate.")
    ] = None,
    tls: Annotated[TlsMode, typer.Option(help="auto: on where a credential or CA is given.")] = (
        TlsMode.AUTO
    ),
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the integration of that name.")
    ] = False,
) -> None:
    """Keep an integration in the encrypted store; the first one creates the store and its key.

    On a terminal the command asks for the API key, unless a certificate is given. Without one, what
    is piped into the command is the key. The key is never an argument, since everybody on the
    machine can see arguments. Of files, the content is stored.
    """
    settings = Settings.load()
    api_key = _api_key(from_stdin=api_key_stdin, wanted=cert is None)
    parts: dict[str, Any] = {
        "endpoint": endpoint,
        "namespace": namespace,
        "tls": tls,
        "api_key": api_key,
        "tls_server_name": server_name,
        "tls_cert": _content(cert),
        "tls_key": _content(key),
        "tls_ca": _content(ca),
    }
    app = build(settings)
    integration = _validated({part: value for part, value in parts.items() if value})
    app.check_credentials(name, integration)
    made_key = app.store.add(name, integration, replace=replace)
    if made_key:
        print(f"created a key for the store: {app.store.key_file}")  # noqa: T201
        print("  keep a copy of the key in another place: without it nobody can read the store")  # noqa: T201
    credential = _cells(integration)[2]
    print(f"stored integration {canonical(name)} in {app.store.path} (credential: {credential})")  # noqa: T201
    if canonical(name) in settings.integrations:
        print(f"  it is not used: the one from {settings.origins[canonical(name)]} comes first")  # noqa: T201
    for remark in _where_it_counts(app, name):
        say.warning(remark)
    print(f"  try it with: autoscaler integrations test {canonical(name)}")  # noqa: T201


def _where_it_counts(app: App, name: str) -> Iterator[str]:
    """Yield what keeps a stored integration from lasting, or a daemon from reading it."""
    folder = app.store.path.parent
    if not app.place.outlives(folder):
        yield (
            f"{folder} is no volume, so the integration goes with this container;"
            f" mount a volume at {folder}, and add it again"
        )
    for daemon in asyncio.run(app.daemons_without(folder)):
        yield (
            f"the autoscaler in container {daemon.name} does not read this store; add the"
            f" integration there: {daemon.command} integrations add {canonical(name)} ..."
        )


def _api_key(*, from_stdin: bool, wanted: bool) -> str | None:
    """Return the API key, from standard input or whoever sits at the terminal; None: no key.

    What was piped into the command is never dropped: it is the key, asked for or not.
    """
    if from_stdin:
        key = _one_word(sys.stdin.read())
        if key is None:
            problem = "--api-key-stdin: standard input is empty; pipe the API key into the command"
            raise ConfigurationError([problem])
        return key
    if not on_a_terminal():
        if _arrives():
            return _one_word(sys.stdin.read())
        if wanted:
            problem = (
                "standard input is open, and nothing arrives on it; pipe the API key into the"
                " command with --api-key-stdin, or add `< /dev/null` where there is no key"
            )
            raise ConfigurationError([problem])
    elif wanted:
        answer: str = typer.prompt(
            "API key (empty for none)", default="", hide_input=True, show_default=False
        )
        return _one_word(answer)
    return None


def _one_word(text: str) -> str | None:
    """Return an API key without the blanks around it; None where there is none."""
    words = text.split()
    if len(words) > 1:
        problem = (
            "what standard input holds is no API key: it has several words or lines; pipe the key"
            " alone into the command, or add `< /dev/null` where there is no key"
        )
        raise ConfigurationError([problem])
    return words[0] if words else None


def _arrives() -> bool:
    """Whether standard input has something to read, its end included, within a moment."""
    try:
        return bool(select.select([sys.stdin.fileno()], [], [], STDIN_WITHIN)[0])
    except (io.UnsupportedOperation, OSError, ValueError):
        # It is no file of the operating system, so that reading it cannot wait for anybody.
        return True


def on_a_terminal() -> bool:
    """Whether standard input is a terminal, so that there is somebody to ask."""
    return sys.stdin.isatty()


def _content(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        problem = f"{file} cannot be read ({why}); check the path"
        raise ConfigurationError([problem]) from error


def _validated(parts: dict[str, Any]) -> Integration:
    try:
        return Integration.model_validate(parts)
    except ValidationError as error:
        raise ConfigurationError(
            [
                " ".join((*(f"--{part}:" for part in map(str, entry["loc"])), _words(entry["msg"])))
                for entry in error.errors(include_input=False, include_url=False)
            ]
        ) from None


def _words(message: str) -> str:
    """Return a message with the names of options in place of the names of settings."""
    for setting, option in {
        "TLS_CERT_FILE and TLS_KEY_FILE": "--cert and --key",
        "a TLS_* file or server name": "--cert, --ca or --server-name",
    }.items():
        message = message.replace(setting, option)
    return message.removeprefix("Value error, ")


@commands.command(name="test")
def try_out(
    name: Name,
    *,
    json: Annotated[bool, typer.Option(help="A list of objects, for programs.")] = False,
) -> None:
    """Call the server, and report what the integration may and may not do there.

    The exit code is 1 where something needs to be done.
    """
    app = build(Settings.load())
    show(asyncio.run(app.examine_integrations([canonical(name)])), as_json=json)


@commands.command()
def remove(name: Name) -> None:
    """Remove an integration from the encrypted store, and name the services that still use it."""
    app = build(Settings.load())
    app.store.remove(name)
    print(f"removed integration {canonical(name)} from {app.store.path}")  # noqa: T201
    users, problems = asyncio.run(_users(app, canonical(name)))
    if users:
        print(  # noqa: T201
            f"still named by {', '.join(users)}: they hold their replicas until it is there again,"
            " or until their label temporal.integration names another"
        )
    for problem in problems:
        print(f"not all services that may still use it could be checked: {problem}")  # noqa: T201


async def _users(app: App, name: str) -> tuple[list[str], list[str]]:
    """Return the services that name an integration, and why others could not be read."""
    users, problems = [], []
    await app.wishes.renew()
    label = f"{app.settings.label_prefix}.integration"
    for orchestrator in app.orchestrators:
        try:
            users += [
                str(service.id)
                for service in await orchestrator.discover()
                if canonical(app.wishes.of(service).labels.get(label, DEFAULT_INTEGRATION)) == name
            ]
        except OrchestratorError as error:
            problems.append(str(error))
    return sorted(users), list(dict.fromkeys(problems))


@commands.command()
def rekey() -> None:
    """Encrypt the store with a new key.

    The key file beside the store is replaced. Where the key comes from AUTOSCALER_ENCRYPTION_KEY
    or its file, first put a new key and a comma before the old key.
    """
    app = build(Settings.load())
    told = app.store.rekey()
    print(f"encrypted {app.store.path} with a new key: {told}")  # noqa: T201
