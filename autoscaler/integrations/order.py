"""The order in which the places of named connections are searched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from autoscaler.core.errors import ConfigurationError, IntegrationError
from autoscaler.core.integration import Integration, canonical
from autoscaler.core.spec import DEFAULT_INTEGRATION
from autoscaler.integrations.store import EncryptedStore

STORED = "encrypted store"
TEMPORALS_OWN = "Temporal's environment configuration"


class Integrations:
    """Finds integrations in the settings, then in the encrypted store.

    The integration `default` may also come from Temporal's own environment configuration.
    """

    def __init__(
        self,
        configured: Mapping[str, Integration],
        fallback: Callable[[], Integration],
        *,
        origins: Mapping[str, str] | None = None,
        store: EncryptedStore | None = None,
    ) -> None:
        """Search `configured`, the integrations of the settings by canonical name, then `store`.

        `origins` has the place of each configured integration. `fallback` is called once, where
        neither has an integration `default`; it may raise ConfigurationError.
        """
        self._configured = configured
        self._origins = origins or {}
        self._store = store
        self._fallback = cache(fallback)

    def get(self, name: str) -> Integration:
        """Return an integration; case and `-` or `_` do not matter. Raises IntegrationError."""
        return self._find(name)[0]

    def origin(self, name: str) -> str:
        """Return where an integration comes from. Raises IntegrationError."""
        return self._find(name)[1]

    def names(self) -> list[str]:
        """Return the canonical names of all integrations set up. Raises IntegrationError."""
        return sorted({*self._configured, *self._stored()})

    def _find(self, name: str) -> tuple[Integration, str]:
        key = canonical(name)
        if key in self._configured:
            return self._configured[key], self._origins.get(key, "environment")
        stored = self._stored()
        if key in stored:
            return stored[key], STORED
        if key == canonical(DEFAULT_INTEGRATION):
            try:
                return self._fallback(), TEMPORALS_OWN
            except ConfigurationError as error:
                raise IntegrationError(f"integration {name}: {error}") from error
        known = ", ".join(sorted({*self._configured, *stored, DEFAULT_INTEGRATION}))
        raise IntegrationError(
            f"integration {name} is not known (known: {known});"
            f" set AUTOSCALER_INTEGRATIONS__{key.upper()}__ENDPOINT and __NAMESPACE,"
            f" run `autoscaler integrations add {key}`, or correct the label"
        )

    def _stored(self) -> Mapping[str, Integration]:
        return {} if self._store is None else self._store.all()
