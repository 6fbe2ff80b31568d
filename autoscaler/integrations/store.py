"""The encrypted store: named connections in one file, unreadable without its key."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr, ValidationError

from autoscaler.core.errors import IntegrationError
from autoscaler.core.integration import Integration, canonical
from autoscaler.durable import locked, write

if TYPE_CHECKING:
    # The library takes some MiB of memory, so it is loaded only where there is a store.
    from cryptography.fernet import MultiFernet

MAKE_A_KEY = "`openssl rand -base64 32` makes one"

Signature = tuple[tuple[int, int, int], ...]
"""Inode, time and size of the files that were read. Every write creates new files."""


class EncryptedStore:
    """Integrations in one encrypted file, by canonical name.

    Each write replaces the whole file under a lock on its folder. So a crash leaves either the old
    content or the new one, and two writers take turns. A file that cannot be decrypted is never
    overwritten. Every method may raise IntegrationError.
    """

    def __init__(
        self, path: Path, key: SecretStr | None = None, key_file: Path | None = None
    ) -> None:
        """Use `key`, or else the key in `key_file`, or else the key in the file beside the store.

        A key is 32 bytes in base64. Of several keys, separated by commas, the first encrypts and
        all decrypt.
        """
        self.path = path
        self._given = key
        self._own_key_file = path.with_name(path.name + ".key")
        self.key_file = key_file or self._own_key_file
        self._read: tuple[Signature, Mapping[str, Integration]] | None = None

    def all(self) -> Mapping[str, Integration]:
        """Return all integrations by canonical name; none while there is no store."""
        with _explained(f"reading the store {self.path}"):
            # This is called for every task queue, so the store is decrypted only after a change.
            before = self._signature()
            if not before:
                return {}
            if self._read is None or self._read[0] != before:
                # Nobody may write between the reading of the store and the reading of its key.
                with locked(self.path.parent, fcntl.LOCK_SH):
                    self._read = before, self._load()
            return self._read[1]

    def add(self, name: str, integration: Integration, *, replace: bool = False) -> bool:
        """Store an integration; the first one creates the store.

        Return whether a key was created too, in `key_file`. An integration of the same name is
        replaced only with `replace`; without it, it is an error.
        """
        with self._writing():
            stored = dict(self._load())
            if canonical(name) in stored and not replace:
                raise IntegrationError(
                    f"integration {name} is already in the store; replace it with --replace"
                )
            made = self._make_key()
            self._save({**stored, canonical(name): integration})
            return made

    def remove(self, name: str) -> None:
        """Remove an integration. It is an error if the store does not have it."""
        with self._writing():
            stored = dict(self._load())
            if stored.pop(canonical(name), None) is None:
                known = ", ".join(sorted(stored)) or "none"
                raise IntegrationError(
                    f"integration {name} is not in the store {self.path} (there: {known})"
                )
            self._save(stored)

    def rekey(self) -> str:
        """Encrypt the store with a new key; return a sentence about the keys for the user.

        A key in the file beside the store is replaced. A key that the user gave is not: the user
        first puts a new key before it.
        """
        with self._writing():
            self._load()
            if not self.path.exists():
                raise IntegrationError(f"there is no store at {self.path} yet: nothing to rekey")
            old = self._keys()
            if self._owns_key:
                new = _new_key().decode()
                # If the process ends here, the file still has the key that decrypts the store.
                write(self.key_file, ",".join((new, *old)).encode())
                self._encrypt_anew((new, *old))
                write(self.key_file, new.encode())
                return f"the new key is in {self.key_file}, the old one is gone"
            if len(old) == 1:
                raise IntegrationError(
                    f"{self._key_place} holds one key; put a new one and a comma before it"
                    f" ({MAKE_A_KEY}), and run rekey again"
                )
            self._encrypt_anew(old)
            return f"only the first key in {self._key_place} is needed from now on"

    @property
    def _owns_key(self) -> bool:
        return self._given is None and self.key_file == self._own_key_file

    @property
    def _key_place(self) -> str:
        return "AUTOSCALER_ENCRYPTION_KEY" if self._given is not None else str(self.key_file)

    def _signature(self) -> Signature:
        return tuple(
            (status.st_ino, status.st_mtime_ns, status.st_size)
            for status in (file.stat() for file in (self.path, self.key_file) if file.exists())
        )

    def _load(self) -> Mapping[str, Integration]:
        if not self.path.exists():
            return {}
        from cryptography.fernet import InvalidToken  # noqa: PLC0415

        token, fernet = self.path.read_bytes(), self._fernet(self._keys())
        try:
            entries = json.loads(fernet.decrypt(token))["integrations"]
            return {name: Integration.model_validate(entry) for name, entry in entries.items()}
        except InvalidToken:
            raise IntegrationError(
                f"the store {self.path} cannot be decrypted with the key in {self._key_place}: it"
                " was encrypted with another key, or is damaged; nothing was changed. Give the"
                " right key, or move the store away and add the integrations again"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError, ValidationError, RecursionError):
            raise IntegrationError(
                f"the store {self.path} was written by another version of the autoscaler;"
                " use that version, or move the store away and add the integrations again"
            ) from None

    def _save(self, integrations: Mapping[str, Integration]) -> None:
        content = {name: _revealed(entry) for name, entry in sorted(integrations.items())}
        plain = json.dumps({"integrations": content}).encode()
        write(self.path, self._fernet(self._keys()).encrypt(plain))

    def _encrypt_anew(self, keys: tuple[str, ...]) -> None:
        write(self.path, self._fernet(keys).rotate(self.path.read_bytes()))

    def _make_key(self) -> bool:
        if not self._owns_key or self.key_file.exists():
            return False
        write(self.key_file, _new_key())
        return True

    def _keys(self) -> tuple[str, ...]:
        if self._given is not None:
            text = self._given.get_secret_value()
        else:
            try:
                # Bytes that are no text are replaced: _fernet then says that it is no key.
                text = self.key_file.read_text("utf-8", errors="replace")
            except FileNotFoundError:
                raise IntegrationError(
                    f"the key of the store {self.path} is missing: set AUTOSCALER_ENCRYPTION_KEY,"
                    f" or restore the file {self.key_file}. If the key is lost, nobody can read"
                    " the store: move the store away and add the integrations again"
                ) from None
        return tuple(part.strip() for part in text.split(",") if part.strip())

    def _fernet(self, keys: tuple[str, ...]) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415

        try:
            return MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise IntegrationError(
                f"{self._key_place} holds no key: 32 bytes in base64 are needed; {MAKE_A_KEY}"
            ) from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Lock the store for writing, and create its folder."""
        with _explained(f"writing the store {self.path}"):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(self.path.parent, fcntl.LOCK_EX):
                yield


def _new_key() -> bytes:
    from cryptography.fernet import Fernet  # noqa: PLC0415

    return Fernet.generate_key()


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Translate errors of the file system."""
    try:
        yield
    except OSError as error:
        raise IntegrationError(
            f"{doing} failed ({error.strerror}: {error.filename});"
            " AUTOSCALER_STORE says where the store is, and this user must be able to use it"
        ) from None


def _revealed(value: Any) -> Any:
    """Return an integration as plain JSON data with its secrets in clear text, for encryption."""
    if isinstance(value, Integration):
        return {name: _revealed(getattr(value, name)) for name in sorted(value.model_fields_set)}
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {name: _revealed(item) for name, item in value.items()}
    return str(value) if isinstance(value, Path) else value
